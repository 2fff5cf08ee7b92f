"""What a dispatch becomes on the bus."""

import msgspec
import pytest

from components.shard.dispatches import MAX_INPUT_BYTES, Translator, guild_of
from components.shard.guild_create import Identity
from contracts.ids import GuildId, SessionId, UserId
from contracts.inputs import DiscordDispatch, InteractionReceived
from contracts.interactions import custom_id
from contracts.message import decode

GUILD = "123456789012345678"
OTHER = "223456789012345678"


@pytest.fixture
def translator() -> Translator:
    return Translator(
        session=SessionId("s"),
        shard=3,
        identity=Identity(user_id=UserId("7"), application_id="8"),
        answer_to=lambda interaction: f"answers.{interaction}",
        part_bytes=1000,
    )


def message(guild: str = GUILD, **fields: object) -> bytes:
    return msgspec.json.encode({"id": "5", "guild_id": guild, **fields})


def test_each_guild_has_a_chain_of_its_own(translator: Translator) -> None:
    previous = []
    for sequence, guild in enumerate([GUILD, OTHER, GUILD, GUILD, OTHER], start=2):
        [append] = translator.translate(sequence, "MESSAGE_CREATE", message(guild)).appends
        previous.append(decode(append.data, DiscordDispatch).previous)
        assert append.guild == guild
    assert previous == [None, None, 2, 4, 3]


def test_a_dispatch_goes_on_unchanged(translator: Translator) -> None:
    data = b'{"guild_id" : "%s", "unknown":[1.50, null], "x":"\\u00e9"}' % GUILD.encode()
    [append] = translator.translate(9, "NEW_EVENT", data).appends
    dispatch = decode(append.data, DiscordDispatch)
    assert bytes(dispatch.data) == data
    assert (dispatch.session, dispatch.shard, dispatch.sequence) == ("s", 3, 9)
    assert append.message_id == "dsp:s:9"


def test_a_dispatch_too_large_is_replaced_by_a_note(translator: Translator) -> None:
    data = message(content="x" * MAX_INPUT_BYTES)
    [append] = translator.translate(9, "MESSAGE_CREATE", data).appends
    dispatch = decode(append.data, DiscordDispatch)
    assert "modbot_dropped" in msgspec.json.decode(dispatch.data)
    assert append.message_id == "dsp:s:9"


def test_parts_of_a_snapshot_have_ids_of_their_own_and_one_link_in_the_chain(
    translator: Translator,
) -> None:
    roles = [{"id": str(n), "name": "r" * 50} for n in range(60)]
    data = msgspec.json.encode({"id": GUILD, "name": "g", "roles": roles})
    translator.translate(3, "MESSAGE_CREATE", message())
    appends = translator.translate(4, "GUILD_CREATE", data).appends
    parts = [decode(append.data, DiscordDispatch) for append in appends]
    assert len(parts) > 1
    assert len({append.message_id for append in appends}) == len(parts)
    assert [(p.sequence, p.part, p.parts) for p in parts] == [
        (4, n, len(parts)) for n in range(1, len(parts) + 1)
    ]
    assert [p.previous for p in parts] == [3] + [None] * (len(parts) - 1)


def test_an_interaction_names_where_its_answer_is_awaited(translator: Translator) -> None:
    translator.translate(3, "MESSAGE_CREATE", message())
    data = message(type=2, token="t", data={"name": "case"})
    [append] = translator.translate(4, "INTERACTION_CREATE", data).appends
    interaction = decode(append.data, InteractionReceived)
    assert append.message_id == "int:5"
    assert interaction.answer_to == "answers.5"
    assert (interaction.session, interaction.sequence, interaction.previous) == ("s", 4, 3)


def test_an_interaction_outside_a_server_goes_where_its_custom_id_says() -> None:
    named = {"id": "5", "type": 3, "data": {"custom_id": custom_id(GuildId(GUILD), "appeal")}}
    assert guild_of("INTERACTION_CREATE", msgspec.json.encode(named)) == GUILD
    assert guild_of("INTERACTION_CREATE", b'{"id":"5","type":2}') is None


@pytest.mark.parametrize(
    ("event", "data", "guild"),
    [
        ("GUILD_UPDATE", {"id": GUILD}, GUILD),
        ("GUILD_DELETE", {"id": GUILD, "unavailable": True}, GUILD),
        ("GUILD_MEMBER_ADD", {"guild_id": GUILD, "user": {}}, GUILD),
        ("MESSAGE_CREATE", {"id": "5", "content": "a direct message"}, None),
        ("MESSAGE_CREATE", {"guild_id": int(GUILD)}, GUILD),
        ("USER_UPDATE", {"id": "5"}, None),
        ("READY", {"guilds": []}, None),
        ("MESSAGE_CREATE", {"guild_id": "1.>"}, None),
        ("MESSAGE_CREATE", {"guild_id": "-4"}, None),
        ("MESSAGE_CREATE", {"guild_id": str(2**70)}, None),
        ("MESSAGE_CREATE", {"guild_id": []}, None),
        ("MESSAGE_CREATE", [], None),
    ],
)
def test_the_guild_of_a_dispatch(event: str, data: object, guild: str | None) -> None:
    assert guild_of(event, msgspec.json.encode(data)) == guild
