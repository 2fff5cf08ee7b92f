"""Components and embeds as Discord keeps them: numbered, with the defaults of what was left out.

docs: components/reference, resources/message#embed-object
"""

from typing import Any

Json = dict[str, Any]

_SELECTS = frozenset({3, 5, 6, 7, 8})
_DEFAULTS: dict[int, Json] = {
    11: {"description": None, "spoiler": False},  # thumbnail
    13: {"name": None, "size": None, "spoiler": False},  # file
    14: {"divider": True, "spacing": 1},  # separator
    17: {"accent_color": None, "spoiler": False},  # container
    **{kind: {"min_values": 1, "max_values": 1} for kind in _SELECTS},
}


def numbered(components: list[Json]) -> list[Json]:
    """Components with an id each, from 1 in order of appearance where none was given."""
    taken = 0

    def keep(component: Json) -> Json:
        nonlocal taken
        taken += 1
        given = {key: value for key, value in component.items() if value is not None}
        out = {**_DEFAULTS.get(int(given["type"]), {}), **given, "id": given.get("id") or taken}
        if isinstance(out.get("components"), list):
            out["components"] = [keep(child) for child in out["components"]]
        if isinstance(out.get("accessory"), dict):
            out["accessory"] = keep(out["accessory"])
        return out

    return [keep(component) for component in components]


def kept_embed(embed: Json) -> Json:
    """An embed with its type and each field's `inline`; nulls are left out."""
    out = {"type": "rich", **{key: value for key, value in embed.items() if value is not None}}
    if "fields" in out:
        out["fields"] = [{"inline": False, **field} for field in out["fields"]]
    return out
