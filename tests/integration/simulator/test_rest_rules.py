"""The rules of REST that have numbers: bulk delete, timeouts, bans, nonces, hierarchy, errors."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.simulator.client import ControlError, GuildInfo, SimulatorControl
from components.simulator.settings import Settings
from tests.integration.simulator.raw import Caller

GONE = 999_999_999_999_999_999


@pytest.fixture
def settings() -> Settings:
    return Settings(limits=False, nonce_window_s=60.0)


def after(**kwargs: float) -> str:
    return (datetime.now(UTC) + timedelta(**kwargs)).isoformat()


async def _posted(control: SimulatorControl, guild: GuildInfo, count: int) -> list[int]:
    message = {
        "channel_id": guild.channels["general"],
        "author_id": guild.members[0].id,
        "content": "x",
    }
    return await control.post_many([message] * count)


async def _bulk(caller: Caller, guild: GuildInfo, ids: list[int]) -> Any:
    path = f"/channels/{guild.channels['general']}/messages/bulk-delete"
    return await caller.call("POST", path, {"messages": [str(i) for i in ids]})


@pytest.mark.parametrize("count", [2, 100])
async def test_bulk_delete_takes_2_to_100_messages(
    count: int, caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    ids = await _posted(control, guild, count)
    gateway = await caller.identified()
    assert (await _bulk(caller, guild, ids)).status == 204
    told = await gateway.until("MESSAGE_DELETE_BULK")
    assert told["ids"] == [str(i) for i in ids]
    assert await control.messages(guild.channels["general"]) == []
    entry = (await control.guild(guild.id))["audit_log"][-1]
    assert (entry["action_type"], entry["options"]) == (73, {"count": str(count)})


@pytest.mark.parametrize("count", [1, 101])
async def test_bulk_delete_of_too_few_or_too_many_is_refused(
    count: int, caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    ids = await _posted(control, guild, count)
    refused = await _bulk(caller, guild, ids)
    assert (refused.status, refused.code) == (400, 50016)
    assert len(await control.messages(guild.channels["general"])) == count


async def test_bulk_delete_of_duplicates_or_old_messages_is_50034_and_deletes_nothing(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, author = guild.channels["general"], guild.members[0].id
    fresh = await control.post(channel, author, "new")
    old = await control.post(channel, author, "old", created_at=after(days=-14, minutes=-1))
    for ids in ([fresh, fresh], [fresh, old]):
        refused = await _bulk(caller, guild, ids)
        assert (refused.status, refused.code) == (400, 50034)
    just = await control.post(channel, author, "13 days", created_at=after(days=-13, hours=-23))
    assert len(await control.messages(channel)) == 3
    assert (await _bulk(caller, guild, [fresh, just])).status == 204


async def test_a_timeout_is_at_most_28_days(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    path = f"/guilds/{guild.id}/members/{guild.members[0].id}"
    field = "communication_disabled_until"
    refused = await caller.call("PATCH", path, {field: after(days=28, minutes=1)})
    assert (refused.status, refused.code) == (400, 50035)
    assert field in refused.body["errors"]
    refused = await caller.call("PATCH", path, {field: "tomorrow"})
    assert refused.body["errors"][field]["_errors"][0]["code"] == "DATE_TIME_TYPE_PARSE"
    accepted = await caller.call("PATCH", path, {field: after(days=28, minutes=-1)})
    assert accepted.status == 200
    with pytest.raises(ControlError) as silenced:
        await control.post(guild.channels["general"], guild.members[0].id, "still here")
    assert (silenced.value.status, silenced.value.code) == (403, 50013)
    assert (await caller.call("PATCH", path, {field: None})).body[field] is None
    await control.post(guild.channels["general"], guild.members[0].id, "back")


async def test_an_administrator_cannot_be_timed_out_but_be_kicked(
    caller: Caller, guild: GuildInfo
) -> None:
    path = f"/guilds/{guild.id}/members/{guild.members[2].id}"
    body = {"communication_disabled_until": after(hours=1)}
    refused = await caller.call("PATCH", path, body)
    assert (refused.status, refused.code) == (403, 50013)
    assert (await caller.call("DELETE", path)).status == 204


async def test_nobody_acts_on_a_member_above_nor_on_the_owner(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    above = await control.create_role(guild.id, "above", position=500)
    alice = guild.members[0].id
    await control.member(guild.id, "modify-member", alice, roles=[above])
    for user_id in (alice, guild.owner_id):
        member = f"/guilds/{guild.id}/members/{user_id}"
        attempts = [
            ("DELETE", member, None),
            ("PUT", f"/guilds/{guild.id}/bans/{user_id}", {}),
            ("PATCH", member, {"communication_disabled_until": after(hours=1)}),
            ("PATCH", member, {"nick": "x"}),
        ]
        for method, path, body in attempts:
            refused = await caller.call(method, path, body)
            assert (refused.status, refused.code) == (403, 50013), path
    role = f"/guilds/{guild.id}/members/{guild.members[1].id}/roles/{above}"
    assert (await caller.call("PUT", role)).code == 50013
    below = f"/guilds/{guild.id}/members/{guild.members[1].id}/roles/{guild.roles['helper']}"
    assert (await caller.call("PUT", below)).status == 204


async def test_without_the_permission_it_is_50013(
    caller: Caller, control: SimulatorControl
) -> None:
    weak = (await control.create_guilds(member_count=2, bot_permissions=1 << 10))[0]
    channel, alice = weak.channels["general"], weak.members[0].id
    # @everyone still may post and react; what moderates is refused.
    message = await control.post(channel, alice, "x")
    attempts = [
        ("DELETE", f"/channels/{channel}/messages/{message}", None),
        ("PUT", f"/guilds/{weak.id}/bans/{alice}", {}),
        ("DELETE", f"/guilds/{weak.id}/members/{alice}", None),
        ("PATCH", f"/guilds/{weak.id}/members/{alice}", {"nick": "n"}),
        ("POST", f"/guilds/{weak.id}/roles", {"name": "r"}),
        ("PATCH", f"/channels/{channel}", {"rate_limit_per_user": 5}),
        ("GET", f"/guilds/{weak.id}/audit-logs", None),
        ("POST", f"/guilds/{weak.id}/bulk-ban", {"user_ids": [str(alice)]}),
    ]
    for method, path, body in attempts:
        refused = await caller.call(method, path, body)
        assert (refused.status, refused.code) == (403, 50013), path


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/channels/{gone}", 404, 10003),
        ("GET", "/guilds/{gone}", 404, 10004),
        ("GET", "/guilds/{guild}/members/{gone}", 404, 10013),
        ("GET", "/guilds/{guild}/members/{stranger}", 404, 10007),
        ("DELETE", "/channels/{channel}/messages/{gone}", 404, 10008),
        ("PUT", "/guilds/{guild}/members/{alice}/roles/{gone}", 404, 10011),
        ("PUT", "/guilds/{guild}/bans/{gone}", 404, 10013),
        ("GET", "/guilds/{guild}/bans/{alice}", 404, 10026),
        ("DELETE", "/guilds/{guild}/bans/{alice}", 404, 10026),
        ("GET", "/channels/nonsense", 400, 50035),
        ("GET", "/nowhere", 404, 0),
    ],
)
async def test_what_does_not_exist_has_its_code(
    method: str,
    path: str,
    status: int,
    code: int,
    caller: Caller,
    control: SimulatorControl,
    guild: GuildInfo,
) -> None:
    elsewhere = (await control.create_guilds(member_count=1))[0]
    filled = path.format(
        gone=GONE,
        guild=guild.id,
        channel=guild.channels["general"],
        alice=guild.members[0].id,
        stranger=elsewhere.members[0].id,
    )
    refused = await caller.call(method, filled, {} if method == "PUT" else None)
    assert (refused.status, refused.code) == (status, code)


async def test_a_guild_the_bot_is_not_in_is_50001(
    caller: Caller, control: SimulatorControl
) -> None:
    other = (await control.create_guilds(applications=[]))[0]
    refused = await caller.call("GET", f"/guilds/{other.id}")
    assert (refused.status, refused.code) == (403, 50001)


async def test_a_missing_or_wrong_token_is_401(caller: Caller) -> None:
    for header in ("", "Bot nonsense", caller.token):
        refused = await caller.call("GET", "/users/@me", Authorization=header)
        assert (refused.status, refused.code) == (401, 0)


async def test_an_enforced_nonce_creates_one_message_and_a_plain_one_two(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    path = f"/channels/{guild.channels['general']}/messages"
    body = {"content": "once", "nonce": "abc", "enforce_nonce": True}
    first, second = [await caller.call("POST", path, body) for _ in range(2)]
    assert first.body["id"] == second.body["id"]
    assert len(await control.messages(guild.channels["general"])) == 1
    plain = {"content": "twice", "nonce": "def"}
    ids = {(await caller.call("POST", path, plain)).body["id"] for _ in range(2)}
    assert len(ids) == 2
    long = await caller.call("POST", path, {"content": "x", "nonce": "n" * 26})
    assert long.body["errors"]["nonce"]["_errors"][0]["code"] == "BASE_TYPE_MAX_LENGTH"


async def test_the_bots_own_message_create_carries_its_nonce(
    caller: Caller, guild: GuildInfo
) -> None:
    gateway = await caller.identified()
    path = f"/channels/{guild.channels['general']}/messages"
    await caller.call("POST", path, {"content": "x", "nonce": "abc", "enforce_nonce": True})
    assert (await gateway.until("MESSAGE_CREATE"))["nonce"] == "abc"


async def test_wrong_bodies_have_nested_50035_errors(caller: Caller, guild: GuildInfo) -> None:
    path = f"/channels/{guild.channels['general']}/messages"
    refused = await caller.call("POST", path, {"content": "x" * 2001})
    assert (refused.status, refused.code) == (400, 50035)
    assert refused.body["errors"]["content"]["_errors"] == [
        {"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 2000 or fewer in length."}
    ]
    deep = [{"title": "ok"}, {"fields": [{"name": "n", "value": "v" * 1025}]}]
    refused = await caller.call("POST", path, {"embeds": deep})
    assert (refused.status, refused.code) == (400, 50035)
    value = refused.body["errors"]["embeds"]["1"]["fields"]["0"]["value"]
    assert value["_errors"][0]["code"] == "BASE_TYPE_MAX_LENGTH"
    assert (await caller.call("POST", path, {"content": " "})).code == 50006
    total = [{"description": "d" * 4000}] * 2
    refused = await caller.call("POST", path, {"embeds": total})
    assert refused.body["errors"]["embeds"]["_errors"][0]["code"] == "MAX_EMBED_SIZE_EXCEEDED"


async def test_a_thread_from_a_message_has_its_id_and_there_is_only_one(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel = guild.channels["general"]
    message = await control.post(channel, guild.members[0].id, "start here")
    gateway = await caller.identified()
    path = f"/channels/{channel}/messages/{message}/threads"
    refused = await caller.call("POST", path, {"name": "t", "auto_archive_duration": 61})
    assert "auto_archive_duration" in refused.body["errors"]
    made = await caller.call("POST", path, {"name": "t", "auto_archive_duration": 60})
    assert (made.status, made.body["id"]) == (201, str(message))
    created = await gateway.until("THREAD_CREATE")
    assert (created["id"], created["newly_created"]) == (str(message), True)
    assert (await gateway.until("MESSAGE_UPDATE"))["flags"] & 1 << 5
    again = await caller.call("POST", path, {"name": "t"})
    assert (again.status, again.code) == (400, 160004)
    posted = await caller.call("POST", f"/channels/{message}/messages", {"content": "inside"})
    assert posted.status == 200
    # The thread outlives its message.
    assert (await caller.call("DELETE", f"/channels/{channel}/messages/{message}")).status == 204
    assert (await caller.call("GET", f"/channels/{message}")).status == 200


async def test_an_archived_thread_opens_when_posted_in_and_a_locked_one_does_not(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, alice = guild.channels["general"], guild.members[0].id
    made = await caller.call("POST", f"/channels/{channel}/threads", {"name": "t", "type": 11})
    thread = int(made.body["id"])
    await caller.call("PATCH", f"/channels/{thread}", {"archived": True})
    renamed = await caller.call("PATCH", f"/channels/{thread}", {"name": "new"})
    assert renamed.code == 50083
    await control.post(thread, alice, "open up")
    shown = await caller.call("GET", f"/channels/{thread}")
    assert shown.body["thread_metadata"]["archived"] is False
    await caller.call("PATCH", f"/channels/{thread}", {"locked": True})
    with pytest.raises(ControlError) as refused:
        await control.post(thread, alice, "let me in")
    assert refused.value.code == 160005


async def test_a_ban_removes_member_and_recent_messages_and_hinders_joining(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, alice = guild.channels["general"], guild.members[0].id
    await control.post(channel, alice, "old", created_at=after(hours=-2))
    await control.post(channel, alice, "new")
    gateway = await caller.identified()
    path = f"/guilds/{guild.id}/bans/{alice}"
    too_long = await caller.call("PUT", path, {"delete_message_seconds": 604_801})
    assert too_long.code == 50035
    done = await caller.call(
        "PUT", path, {"delete_message_seconds": 3600}, **{"X-Audit-Log-Reason": "sp%C3%A4m"}
    )
    assert done.status == 204
    assert (await gateway.until("GUILD_BAN_ADD"))["user"]["id"] == str(alice)
    assert (await gateway.until("GUILD_MEMBER_REMOVE"))["user"]["id"] == str(alice)
    entry = await gateway.until("GUILD_AUDIT_LOG_ENTRY_CREATE")
    assert (entry["action_type"], entry["target_id"]) == (22, str(alice))
    assert entry["reason"] == "späm"
    assert [m["content"] for m in await control.messages(channel)] == ["old"]
    assert (await caller.call("GET", path)).body["reason"] == "späm"
    with pytest.raises(ControlError) as refused:
        await control.join(guild.id, id=alice)
    assert refused.value.code == 40007
    assert (await caller.call("DELETE", path)).status == 204
    await control.join(guild.id, id=alice)


async def test_bulk_ban_says_who_failed_and_takes_at_most_200(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    alice, bob = guild.members[0].id, guild.members[1].id
    path = f"/guilds/{guild.id}/bulk-ban"
    done = await caller.call("POST", path, {"user_ids": [str(alice), str(bob), str(GONE)]})
    assert done.body == {"banned_users": [str(alice), str(bob)], "failed_users": [str(GONE)]}
    nobody = await caller.call("POST", path, {"user_ids": [str(GONE)]})
    assert (nobody.status, nobody.code) == (400, 500000)
    many = [str(GONE - i) for i in range(201)]
    assert (await caller.call("POST", path, {"user_ids": many})).code == 50035


async def test_an_audit_log_reason_has_at_most_512_characters(
    caller: Caller, guild: GuildInfo
) -> None:
    path = f"/guilds/{guild.id}/members/{guild.members[0].id}"
    long = await caller.call("PATCH", path, {"nick": "n"}, **{"X-Audit-Log-Reason": "r" * 513})
    assert (long.status, long.code) == (400, 50035)
    fits = await caller.call("PATCH", path, {"nick": "n"}, **{"X-Audit-Log-Reason": "r" * 512})
    assert fits.status == 200


async def test_a_member_deleting_anothers_message_is_in_the_audit_log_once_with_a_count(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, alice = guild.channels["general"], guild.members[0].id
    ids = await _posted(control, guild, 4)
    for message in ids[:2]:
        await control.delete(channel, message, guild.owner_id)
    await control.delete(channel, ids[2], alice)  # her own
    await caller.call("DELETE", f"/channels/{channel}/messages/{ids[3]}")  # by the bot
    deletions = [e for e in (await control.guild(guild.id))["audit_log"] if e["action_type"] == 72]
    assert [(e["target_id"], e["options"]["count"]) for e in deletions] == [(str(alice), "2")]


async def test_a_forward_carries_a_snapshot_and_a_reply_its_message(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, alice = guild.channels["general"], guild.members[0].id
    original = await control.post(channel, alice, "the source", embeds=[{"title": "e"}])
    gateway = await caller.identified()
    await control.post(channel, alice, forward={"channel_id": channel, "message_id": original})
    forward = await gateway.until("MESSAGE_CREATE")
    assert (forward["content"], forward["message_reference"]["type"]) == ("", 1)
    assert forward["message_snapshots"][0]["message"]["content"] == "the source"
    await control.post(channel, alice, "an answer", reply_to=original)
    reply = await gateway.until("MESSAGE_CREATE")
    assert (reply["type"], reply["referenced_message"]["id"]) == (19, str(original))
    path = f"/channels/{channel}/messages"
    lost = {"content": "x", "message_reference": {"message_id": str(GONE)}}
    assert (await caller.call("POST", path, lost)).code == 50035
    lost["message_reference"]["fail_if_not_exists"] = False  # type: ignore[index]
    assert (await caller.call("POST", path, lost)).status == 200


async def test_mentions_count_only_where_they_are_allowed(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    path = f"/channels/{guild.channels['general']}/messages"
    alice = guild.members[0].id
    text = f"<@{alice}> <@&{guild.roles['helper']}> @everyone"
    plain = (await caller.call("POST", path, {"content": text})).body
    assert [u["id"] for u in plain["mentions"]] == [str(alice)]
    assert (plain["mention_roles"], plain["mention_everyone"]) == (
        [str(guild.roles["helper"])],
        True,
    )
    muted = {"content": text, "allowed_mentions": {"parse": []}}
    quiet = (await caller.call("POST", path, muted)).body
    assert (quiet["mentions"], quiet["mention_roles"], quiet["mention_everyone"]) == ([], [], False)
    gateway = await caller.identified()
    await control.post(guild.channels["general"], alice, "@everyone look")
    assert (await gateway.until("MESSAGE_CREATE"))["mention_everyone"] is False


async def test_slowmode_holds_for_members_and_not_for_the_bot(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, alice = guild.channels["general"], guild.members[0].id
    refused = await caller.call("PATCH", f"/channels/{channel}", {"rate_limit_per_user": 21_601})
    assert refused.code == 50035
    set_ = await caller.call("PATCH", f"/channels/{channel}", {"rate_limit_per_user": 60})
    assert set_.body["rate_limit_per_user"] == 60
    await control.post(channel, alice, "one")
    with pytest.raises(ControlError) as slow:
        await control.post(channel, alice, "two")
    assert slow.value.code == 20016
    for _ in range(2):
        posted = await caller.call("POST", f"/channels/{channel}/messages", {"content": "bot"})
        assert posted.status == 200
