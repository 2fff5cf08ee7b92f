"""What is generated is committed, valid, and the same every time."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from components.stack import nats
from contracts import accounts, catalog, facts, generate, storage
from contracts.documents.asyncapi import asyncapi
from contracts.documents.schemas import schema_files
from contracts.ids import Epoch, GuildId, Sequence

ROOT = Path(__file__).resolve().parents[3]
OFFICIAL = Path(__file__).with_name("asyncapi-3.0.0.schema.json")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The committed files, to be changed."""
    for folder in ("contracts/schemas", "infra/nats"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "contracts/asyncapi.json", tmp_path / "contracts/asyncapi.json")
    return tmp_path


def test_generated_files_are_committed_as_they_are_generated() -> None:
    assert generate.drift(ROOT) == []


def test_generating_is_the_same_in_another_process_with_another_hash_seed() -> None:
    print_all = (
        "from contracts import generate\n"
        "for path, text in sorted(generate.files().items()): print(path, text)"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", print_all],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_check_names_changed_missing_and_left_over_files(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--check"], copy) == 0
    (copy / "infra/nats/server.conf").write_text("max_payload: 64MB\n", encoding="utf-8")
    (copy / "contracts/schemas/get-case.v1.json").unlink()
    (copy / "infra/nats/streams/OLD.json").write_text("{}", encoding="utf-8")
    assert generate.main(["--check"], copy) == 1
    words = capsys.readouterr().err
    assert "infra/nats/server.conf" in words
    assert "contracts/schemas/get-case.v1.json" in words
    assert "infra/nats/streams/OLD.json" in words
    assert generate.main([], copy) == 0
    assert generate.drift(copy) == []


def test_writing_over_a_contract_that_it_breaks_is_refused(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / "contracts/asyncapi.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["components"]["schemas"]["CaseOpened"]["properties"]["severity"] = {"type": "string"}
    path.write_text(json.dumps(document), encoding="utf-8")
    assert generate.main([], copy) == 1
    assert "incompatible: CaseOpened.severity: removed" in capsys.readouterr().err
    assert json.loads(path.read_text(encoding="utf-8")) == document
    assert generate.main(["--accept-incompatible"], copy) == 0
    assert generate.main(["--check"], copy) == 0


@pytest.mark.parametrize("name", sorted(schema_files()))
def test_every_schema_is_valid_draft_2020_12_and_says_what_the_message_is(name: str) -> None:
    schema = json.loads((ROOT / "contracts/schemas" / name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    assert schema["description"]


def test_docstrings_of_fields_are_in_the_schemas() -> None:
    properties = schema_files()["discord-dispatch.v1.json"]["properties"]
    assert properties["catch_up"]["description"].startswith("Read afterwards over REST")


def test_asyncapi_document_follows_the_official_schema() -> None:
    validator = Draft7Validator(json.loads(OFFICIAL.read_text(encoding="utf-8")))
    document = asyncapi()
    assert [error.message for error in validator.iter_errors(document)] == []
    del document["channels"]["inputs"]["address"]
    document["channels"]["inputs"]["adress"] = "modbot.in.{guild}"
    assert list(validator.iter_errors(document))


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [ref for value in node.values() for ref in references(value)]
        if isinstance(node, list):
            return [ref for value in node for ref in references(value)]
        return []

    found = references(document)
    assert len(found) > 100
    for reference in found:
        node: Any = document
        for token in reference.removeprefix("#/").split("/"):
            assert token in node, reference
            node = node[token]


def test_every_sender_and_receiver_has_an_operation() -> None:
    operations = asyncapi()["operations"]
    for channel in catalog.CHANNELS:
        for user in channel.all_senders():
            assert operations[f"{user}.send.{channel.name}"]["action"] == "send"
        for user in channel.receivers:
            assert operations[f"{user}.receive.{channel.name}"]["action"] == "receive"


@pytest.mark.parametrize("fact", facts.FACTS, ids=lambda f: f.type)
def test_a_facts_real_headers_satisfy_the_documented_ones(fact: type[facts.Fact]) -> None:
    message = asyncapi()["components"]["messages"][f"events.{fact.type}.{fact.__name__}"]
    validator = Draft202012Validator(message["headers"])
    headers = facts.headers_of(
        fact,
        guild=GuildId("42"),
        sequence=Sequence(7),
        index=0,
        epoch=Epoch(1),
        time_ms=1_764_000_000_123,
        subject="80351110224678912",
    )
    sent = {
        **headers,
        "Nats-Msg-Id": headers["ce-id"],
        "Nats-Expected-Last-Subject-Sequence": "0",
        "Nats-Expected-Last-Subject-Sequence-Subject": "modbot.events.42.>",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    assert set(sent) == set(message["headers"]["properties"])
    validator.validate(sent)
    assert not validator.is_valid({**sent, "ce-type": "modbot.case.opened.v2"})
    assert not validator.is_valid({k: v for k, v in sent.items() if k != "ce-id"})


def test_infra_files_are_what_the_stack_starts_and_provisions(tmp_path: Path) -> None:
    nats.prepare(tmp_path, 4222)
    for name in ("server.conf", "accounts.conf"):
        assert (ROOT / "infra/nats" / name).read_bytes() == (tmp_path / name).read_bytes()
    streams = [
        json.loads((ROOT / f"infra/nats/streams/{config['name']}.json").read_text("utf-8"))
        for config in storage.streams()
    ]
    assert streams == storage.streams()


def test_contexts_name_a_seed_file_and_the_users_inbox_and_hold_no_secret() -> None:
    for user in accounts.USERS:
        path = ROOT / f"infra/nats/contexts/modbot-{user.name}.json"
        context = json.loads(path.read_text(encoding="utf-8"))
        assert context["nkey"].endswith(f"/{user.name}.nk")
        assert context["inbox_prefix"] == accounts.inbox_prefix(user.name)
        assert set(context) == {"description", "url", "nkey", "inbox_prefix"}
