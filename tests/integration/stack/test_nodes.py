"""The number of nats-servers stays with the data that they keep."""

from pathlib import Path

import msgspec
import pytest

from components.stack.errors import OtherNodes
from components.stack.installation import Installation, prepare
from components.stack.settings import StackSettings

ALONE = ["nats"]
CLUSTER = ["nats-0", "nats-1", "nats-2"]


def prepared(home: Path, nodes: int) -> Installation:
    settings = StackSettings(home=str(home), database_url="postgresql://db.example/modbot")
    return prepare(msgspec.structs.replace(settings, nats=nodes))


def names(made: Installation) -> list[str]:
    return [server.name for server in made.nats]


def test_data_of_one_server_is_not_started_as_a_cluster(tmp_path: Path) -> None:
    assert names(prepared(tmp_path, 1)) == ALONE
    with pytest.raises(OtherNodes) as refused:
        prepared(tmp_path, 3)
    assert str(refused.value) == (
        f"the streams in {tmp_path / 'nats'} are kept by one nats-server, not by 3 of them: say "
        "--nats 1, name another folder with --home, or give them up with --reset"
    )
    assert names(prepared(tmp_path, 1)) == ALONE, "a refusal changes nothing"


@pytest.mark.parametrize(("nodes", "words"), [(1, "one nats-server"), (5, "5 of them")])
def test_data_of_a_cluster_is_not_started_by_fewer_or_more(
    tmp_path: Path, nodes: int, words: str
) -> None:
    assert names(prepared(tmp_path, 3)) == CLUSTER
    with pytest.raises(OtherNodes, match=rf"kept by 3 of them, not by {words}: say --nats 3"):
        prepared(tmp_path, nodes)
    assert names(prepared(tmp_path, 3)) == CLUSTER


def test_data_from_before_the_number_was_kept_is_that_of_one_server(tmp_path: Path) -> None:
    prepared(tmp_path, 1)
    (tmp_path / "nats" / "nodes").unlink()
    (tmp_path / "nats" / "store").mkdir()
    with pytest.raises(OtherNodes, match="kept by one nats-server"):
        prepared(tmp_path, 3)
