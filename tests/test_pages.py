"""The pages for people say what the manifest says, and nothing of theirs becomes markup."""

import re
from importlib.resources import files

import pytest

from manifestgen import pages
from manifestgen.core.tree import sha256
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


def test_the_page_is_small_and_has_the_clients_rules_as_they_are(project: Project) -> None:
    text = page(project)
    rules = files("manifestgen").joinpath("client", "core.js").read_text("utf-8")
    assert len(text.encode()) < 100_000
    assert text.count("<script") == text.count("</script") == 1
    assert "<!--" not in text
    script = text.partition('<script type="module">')[2].partition("</script>")[0]
    assert script.startswith(f"\n{rules}\n")


def test_a_rollout_is_a_picture_of_shares_over_time(project: Project) -> None:
    project.publishes("dist2", "--rollout", "20%")
    rects = re.findall(r'<rect class="(band-\d)" x="(.*?)" width="(.*?)"', page(project))
    assert rects == [("band-0", "0.0", "20.0"), ("band-1", "20.0", "80.0")]
    project.does("channel", "rollout", "60%", "--over", "3d")
    text = page(project)
    first, second = re.findall(r'<polygon class="band-\d" points="(.*?)"', text)
    # From a fifth to three fifths in four fifths of the picture, then level; above it the other.
    assert first == "0,80 80,40 100,40 100,100 80,100 0,100"
    assert second == "0,0 80,0 100,0 100,40 80,40 0,80"
    assert "20 % of devices, rising to 60 % by 2" in text
    assert "100 % of the rest" in text


def test_sizes_are_bars(project: Project) -> None:
    project.publishes("dist2")
    text = page(project)
    widths = [float(one) for one in re.findall(r'class="fill" width="(.*?)"', text)]
    sizes = [
        int(one.replace(",", "")) for one in re.findall(r'class="size" title="(.*?) bytes', text)
    ]
    bundle, patch = sizes
    assert widths == [100, round(100 * patch / bundle, 2)]
    release = project.manifest().manifest.offers[0]
    assert patch == release.patches[0].payload.size
    assert f'data-base="{release.patches[0].base}"' in text


def test_keys_and_the_root_chain_are_told(project: Project) -> None:
    old = project.keyring().root.keys[0].keyid
    project.does("keys", "renew")
    text = page(project)
    assert "Root 2 is valid until" in text
    assert "root (1 of 1); releases (1 of 1); manifests of every channel (1 of 1)" in text
    assert f'<code title="{old}">' in text
    for number in (1, 2):
        digest = sha256((project.site / f"root/{number}.json").read_bytes())
        assert " ".join(re.findall("....", digest)) in text
        assert f'<a href="root/{number}.json">Root {number}</a>' in text


@pytest.mark.parametrize("name", ['"; evil', "a\\b", "c$d", "e f"])
def test_a_folder_of_any_name_stays_one_word_for_nginx(project: Project, name: str) -> None:
    said = project.does("server", "nginx", "--site", project.folder / name)
    [line] = [line for line in said.out.splitlines() if line.strip().startswith("root ")]
    value = line.strip().removeprefix('root "').removesuffix('";')
    assert re.fullmatch(r'(?:[^"\\]|\\.)*', value)


def test_a_template_that_lacks_a_value_fails() -> None:
    with pytest.raises(Exception, match="undefined"):
        pages.server("nginx")
