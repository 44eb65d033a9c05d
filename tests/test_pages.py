"""The pages for people say what the manifest says, and nothing of theirs becomes markup."""

import re

import pytest

from manifestgen import pages
from tests.publish.project import Project, build, fresh, project, published

__all__ = ["fresh", "project", "published"]


def page(project: Project) -> str:
    return (project.site / "index.html").read_text("utf-8")


def test_the_status_page_lists_channels_and_offers(project: Project) -> None:
    project.publishes("dist2", "--rollout", "12.5%", "--platform", "ios")
    project.publishes("dist2", "--channel", "beta")
    text = page(project)
    assert re.findall(r'<h2 id="channel-.*?">(.*?)</h2>', text) == ["beta", "production"]
    assert text.count('href="releases/1.1.0.json"') == 2
    assert '<span class="chip">12.5 % of devices</span> <span class="chip">ios</span>' in text
    assert '<span class="chip">100 % of the rest</span></p>' in text
    assert '<span class="chip">100 % of devices</span> <span class="chip">ios</span>' in text
    assert 'href="production/manifest.json">2</a>' in text
    assert "Root 1 is valid until" in text


def test_notes_never_become_markup(project: Project) -> None:
    project.publishes("dist2", "--notes", '<script>alert(1)</script> & "more"')
    text = page(project)
    assert "<script>" not in text
    assert text.count("<script") == 1  # the page's own
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in text


def test_what_was_withdrawn_and_paused_is_said(project: Project) -> None:
    project.publishes("dist2")
    project.does("channel", "withdraw", "1.1.0")
    project.does("channel", "pause")
    text = page(project)
    assert '<strong class="chip warn">paused</strong>' in text
    assert "Withdrawn: 1.1.0" in text


def test_the_page_needs_nothing_from_elsewhere(project: Project) -> None:
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page(project))
    build(project.folder / "dist3", version="1.2.0")


@pytest.mark.parametrize("name", ['"; evil', "a\\b", "c$d", "e f"])
def test_a_folder_of_any_name_stays_one_word_for_nginx(project: Project, name: str) -> None:
    said = project.does("server", "nginx", "--site", project.folder / name)
    [line] = [line for line in said.out.splitlines() if line.strip().startswith("root ")]
    value = line.strip().removeprefix('root "').removesuffix('";')
    assert re.fullmatch(r'(?:[^"\\]|\\.)*', value)


def test_a_template_that_lacks_a_value_fails() -> None:
    with pytest.raises(Exception, match="undefined"):
        pages.server("nginx")
