"""The committed contract is kept, and the check that says so can fail."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from contracts import generate
from contracts.documents.asyncapi import asyncapi
from contracts.documents.compatibility import breaks

ROOT = Path(__file__).resolve().parents[3]
Document: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Document], object]
COMMITTED: Document = json.loads((ROOT / "contracts/asyncapi.json").read_text(encoding="utf-8"))


def changed(change: Change) -> Document:
    document = deepcopy(COMMITTED)
    change(document)
    return document


def schema(document: Document, name: str) -> Document:
    found: Document = document["components"]["schemas"][name]
    return found


def field(document: Document, name: str, of: str) -> Document:
    found: Document = schema(document, of)["properties"][name]
    return found


def headers(document: Document, key: str) -> Document:
    found: Document = document["components"]["messages"][key]["headers"]
    return found


def rename(document: Document) -> None:
    case = schema(document, "CaseOpened")
    case["properties"]["case_number"] = case["properties"].pop("number")
    case["required"] = ["case_number" if n == "number" else n for n in case["required"]]


def test_todays_types_keep_the_committed_contract() -> None:
    assert generate.incompatibilities(ROOT) == []
    assert breaks(COMMITTED, asyncapi()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            lambda d: schema(d, "CaseOpened")["properties"].pop("reason"),
            "CaseOpened.reason: removed",
            id="a field disappears",
        ),
        pytest.param(rename, "CaseOpened.number: removed", id="a field is renamed"),
        pytest.param(
            lambda d: field(d, "kind", of="TimerFired").update(enum=["timer"]),
            "TimerFired.kind: no longer takes 'timer_fired'",
            id="an input is tagged anew",
        ),
        pytest.param(
            lambda d: field(d, "number", of="CaseOpened").update(type="string"),
            "CaseOpened.number: type changed from 'integer' to 'string'",
            id="a field changes its type",
        ),
        pytest.param(
            lambda d: field(d, "data", of="DiscordDispatch").update(type="object"),
            "DiscordDispatch.data: type changed from nothing to 'object'",
            id="a field that took anything takes less",
        ),
        pytest.param(
            lambda d: schema(d, "CaseOpened")["required"].append("reason"),
            "CaseOpened.reason: newly required",
            id="a field becomes required",
        ),
        pytest.param(
            lambda d: schema(d, "CaseOpened")["required"].remove("user"),
            "CaseOpened.user: no longer certain",
            id="a field that readers need becomes optional",
        ),
        pytest.param(
            lambda d: field(d, "part", of="DiscordDispatch").update(default=0),
            "DiscordDispatch.part: default changed from 1 to 0",
            id="what is left out means something else",
        ),
        pytest.param(
            lambda d: field(d, "catch_up", of="DiscordDispatch").update(default=0),
            "DiscordDispatch.catch_up: default changed from False to 0",
            id="false becomes zero",
        ),
        pytest.param(
            lambda d: field(d, "thresholds", of="SpamSettings")["default"].update(high=16),
            "SpamSettings.thresholds: default changed",
            id="a default inside a section changes",
        ),
        pytest.param(
            lambda d: field(d, "action", of="CaseView")["enum"].remove("ban"),
            "CaseView.action: no longer takes 'ban'",
            id="a value disappears",
        ),
        pytest.param(
            lambda d: field(d, "tier", of="CaseView")["anyOf"][0]["enum"].remove("low"),
            "CaseView.tier: no longer takes 'low'",
            id="a value of an optional field disappears",
        ),
        pytest.param(
            lambda d: field(d, "moderator", of="CaseView")["anyOf"].pop(),
            "CaseView.moderator: a choice of 2 types became one of 1",
            id="null is no longer taken",
        ),
        pytest.param(
            lambda d: field(d, "signals", of="CaseView")["items"].update(
                {"$ref": "#/components/schemas/Actor"}
            ),
            "CaseView.signals[]: $ref changed",
            id="a list holds another type",
        ),
        pytest.param(
            lambda d: field(d, "data", of="EffectResult")["additionalProperties"].update(
                type="integer"
            ),
            "EffectResult.data: additionalProperties changed",
            id="a mapping holds another type",
        ),
        pytest.param(
            lambda d: d["components"]["schemas"].pop("SkipInput"),
            "type SkipInput: removed",
            id="a type disappears",
        ),
        pytest.param(
            lambda d: d["channels"].pop("rpc.case.get"),
            "channel rpc.case.get: removed",
            id="a request disappears",
        ),
        pytest.param(
            lambda d: d["channels"]["inputs"].update(address="modbot.inputs.{guild}"),
            "channel inputs: moved from modbot.in.{guild} to modbot.inputs.{guild}",
            id="a subject moves",
        ),
        pytest.param(
            lambda d: d["channels"]["inputs"]["messages"].pop("SkipInput"),
            "channel inputs: no longer carries SkipInput",
            id="a channel carries less",
        ),
        pytest.param(
            lambda d: d["components"]["messages"].pop("inputs.SkipInput"),
            "message inputs.SkipInput: removed",
            id="a message disappears",
        ),
        pytest.param(
            lambda d: d["components"]["messages"]["rpc.case.get.CaseView"]["payload"].update(
                {"$ref": "#/components/schemas/CaseList"}
            ),
            "message rpc.case.get.CaseView: another payload",
            id="a message carries another type",
        ),
        pytest.param(
            lambda d: headers(d, "events.case.opened.CaseOpened")["properties"]["ce-type"].update(
                const="modbot.case.opened.v2"
            ),
            "headers of events.case.opened.CaseOpened.ce-type: const changed",
            id="a fact changes its event type",
        ),
        pytest.param(
            lambda d: headers(d, "events.case.opened.CaseOpened")["required"].remove("ce-time"),
            "ce-time is no longer certain to be there",
            id="a header becomes optional",
        ),
        pytest.param(
            lambda d: headers(d, "rpc.settings.put.PutSettings")["required"].append(
                "Modbot-Min-Applied"
            ),
            "headers of rpc.settings.put.PutSettings.Modbot-Min-Applied: newly required",
            id="a header becomes required",
        ),
    ],
)
def test_a_change_that_breaks_the_contract_is_named(change: Change, words: str) -> None:
    found = breaks(COMMITTED, changed(change))
    assert any(words in line for line in found), found


def a_new_optional_setting(document: Document) -> None:
    schema(document, "SpamThresholds")["properties"]["extreme"] = {"type": "integer", "default": 50}
    field(document, "thresholds", of="SpamSettings")["default"]["extreme"] = 50


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda d: schema(d, "CaseOpened")["properties"].update(
                severity={"type": "string", "default": ""}
            ),
            id="an optional field is added",
        ),
        pytest.param(a_new_optional_setting, id="a setting is added"),
        pytest.param(
            lambda d: field(d, "action", of="CaseView")["enum"].append("warn"),
            id="a value is added",
        ),
        pytest.param(
            lambda d: d["components"]["schemas"].update(MemberErased={"type": "object"}),
            id="a type is added",
        ),
        pytest.param(
            lambda d: schema(d, "CaseOpened").update(description="In other words."),
            id="a type is described otherwise",
        ),
        pytest.param(
            lambda d: field(d, "until_ms", of="CaseView").update(description="In other words."),
            id="a field is described otherwise",
        ),
        pytest.param(
            lambda d: headers(d, "rpc.case.get.GetCase")["properties"].update(
                {"Modbot-New": {"type": "string"}}
            ),
            id="a header is added",
        ),
    ],
)
def test_a_change_that_only_adds_is_compatible(change: Change) -> None:
    assert breaks(COMMITTED, changed(change)) == []
