"""The main job on real text: members of 20 guilds post it, and nothing is lost or doubled."""

import os
from pathlib import Path

import pytest

from components.cli.traffic import report_on
from components.stack.live import LiveStack
from components.traffic import journal
from components.traffic.driver import TrafficOptions, drive

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXTS = os.environ.get("MODBOT_TEXTS", "")
FILES = ("sms_spam_dev.tsv", "social_posts_dev.jsonl")
PART = 150
"""Lines of each file: a part of the real text, posted in seconds."""


@pytest.mark.skipif(
    not TEXTS, reason="MODBOT_TEXTS names no folder with the real texts; they are not ours to ship"
)
async def test_a_part_of_the_real_text_is_posted_judged_and_accounted_for(
    stack: LiveStack, tmp_path: Path
) -> None:
    files = []
    for name in FILES:
        part = tmp_path / name
        lines = (Path(TEXTS) / name).read_text(encoding="utf-8").splitlines()[:PART]
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        files.append(str(part))
    path = tmp_path / journal.NAME
    options = TrafficOptions(guilds=20, rate=30, files=tuple(files), seed=7)
    progress = await drive(stack.control, stack.bus, options, path)

    posted = journal.read(path)
    assert posted is not None
    report = await report_on(stack.control, stack.bus, posted, settle_s=60)
    assert progress.posted == len(posted.posts) == report.sent
    assert progress.posted + progress.refused == progress.total
    assert report.seen == report.sent
    assert report.ok, report.examples
    assert report.checked.inputs >= report.sent
    assert report.checked.excused == 0
    assert report.checked.reports > 0.9 * report.acted_on  # the last ones came after the cut
    assert report.latency is not None
    assert report.latency.count == sum(report.by_tier.get(t, 0) for t in ("medium", "high"))
    caught = {row.role: row.total - row.tiers["none"] for row in report.matrix if row.harmful}
    assert caught["campaign"] > 0
    told = report.confusion
    assert told.harmful_caught > 0
    assert told.harmless_hit <= 0.02 * told.harmless_left, "the pipeline hits the harmless"
