"""The page of jobs without scripts: cards, filters, pages, refusals."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from sqlalchemy import update

from shared.errors import OutOfMemory
from web.db.models import Job

BROWSER = {"Accept": "text/html"}


class Seen(HTMLParser):
    """What is in a page: cards by name, links by text, counts by status, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cards: list[dict[str, str]] = []
        self.links: dict[str, str] = {}
        self.counts: dict[str, str] = {}
        self.chosen: list[str] = []
        self.fields: dict[str, str] = {}
        self.text = ""
        self._stack: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        if tag == "li" and "data-job" in given:
            self.cards.append({"id": given["data-job"], "status": given["data-status"]})
        if tag == "img":
            self.cards[-1]["thumbnail"] = given["src"]
        if tag == "progress" and "hidden" not in given:
            self.cards[-1]["progress"] = given["value"]
        if tag == "input":
            self.fields[given["name"]] = given.get("value", "")
        if given.get("aria-current") == "true":
            self.chosen.append(given["data-choice"])
        if tag not in ("img", "input", "meta", "link"):
            self._stack.append({"tag": tag, **given})

    def handle_endtag(self, tag):
        while self._stack and self._stack.pop()["tag"] != tag:
            pass

    def handle_data(self, data):
        words = " ".join(data.split())
        if not words:
            return
        self.text += f"{words}\n"
        for element in self._stack:
            if element["tag"] == "a":
                self.links[words] = element["href"]
            if "data-choice" in element and "data-count" in self._stack[-1]:
                self.counts[element["data-choice"]] = words
        for part in ("name", "line", "suggestion"):
            if self.cards and f"data-{part}" in self._stack[-1]:
                self.cards[-1][part] = words


@pytest.fixture
def look(client):
    def look(path: str = "/", *, status: int = 200) -> Seen:
        answer = client.get(path, headers=BROWSER)
        assert (answer.status_code, answer.mimetype) == (status, "text/html"), answer.text
        return Seen(answer.text)

    return look


def names(seen: Seen) -> list[str]:
    return [card["name"] for card in seen.cards]


def test_nobody_has_a_job_yet(look):
    seen = look()
    assert seen.cards == []
    assert seen.links["Make the first one"] == "/new"


def test_cards_say_how_jobs_are(client, look, submit, workshop):
    for name in ("waits", "runs", "done", "broken"):
        job_id = submit(name=name)["id"]
        if name != "waits":
            workshop.claim(job_id)
        if name == "runs":
            workshop.progress(job_id, 25)
        if name == "done":
            workshop.succeed(job_id)
        if name == "broken":
            workshop.fail(job_id)
    seen = look()
    broken, done, runs, waits = seen.cards
    assert names(seen) == ["broken", "done", "runs", "waits"]
    assert (broken["line"], broken["suggestion"]) == (OutOfMemory.title(), OutOfMemory.suggestion)
    assert done["line"] == "done in 13 s"
    assert (runs["line"], runs["progress"]) == ("step 25 of 100, 19 s left", "0.25")
    assert waits["line"] == "no worker is connected"
    assert "progress" not in done
    for card in seen.cards:
        assert client.get(card["thumbnail"]).status_code in (
            200,
            422,
        )  # the workshop's results are no pictures
        assert seen.links[card["name"]] == f"/jobs/{card['id']}"
    assert seen.counts == {
        "all": "4", "running": "1", "queued": "1", "paused": "0", "succeeded": "1", "failed": "1",
        "canceling": "0", "canceled": "0", "expired": "0",
    }  # fmt: skip


def test_filters_go_together(look, submit, workshop):
    first, second, third = (
        submit(name=name, labels={"town": town})["id"]
        for name, town in (("Brücke", "Prag"), ("Alte Brücke", "Basel"), ("Markt", "Basel"))
    )
    workshop.claim(second)
    workshop.claim(third)
    assert names(look("/?name=br%C3%BCcke")) == ["Alte Brücke", "Brücke"]
    assert names(look("/?label=town:Basel")) == ["Markt", "Alte Brücke"]
    # As the form sends it: with its empty fields.
    seen = look("/?name=+BR%C3%9CCKE+&label=&status=running")
    assert names(seen) == ["Alte Brücke"]
    assert (seen.counts["all"], seen.counts["queued"], seen.chosen) == ("2", "1", ["running"])
    assert (seen.fields["name"], seen.fields["status"]) == ("BRÜCKE", "running")
    assert names(look(seen.links["queued"])) == ["Brücke"]
    assert first


def test_nothing_matches(look, submit):
    submit(name="Harbour")
    seen = look("/?name=castle")
    assert seen.cards == []
    assert "No job matches" in seen.text
    assert seen.links["Show all jobs"] == "/"


def test_there_and_back_again(look, submit):
    made = [submit(name=f"n{number:02}", labels={"a": "b"})["id"] for number in range(50)][::-1]
    first = look("/?label=a:b")
    second = look(first.links["Older jobs"])
    third = look(second.links["Older jobs"])
    ids = [[card["id"] for card in seen.cards] for seen in (first, second, third)]
    assert ids == [made[:24], made[24:48], made[48:]]
    assert "Newer jobs" not in first.links
    assert "Older jobs" not in third.links
    back = look(third.links["Newer jobs"])
    assert [card["id"] for card in back.cards] == ids[1]
    start = look(back.links["Newer jobs"])
    assert [card["id"] for card in start.cards] == ids[0]
    assert "Newer jobs" not in start.links
    assert [card["id"] for card in look(back.links["Older jobs"]).cards] == ids[2]


def test_back_to_a_first_page_that_was_not_full(look, submit):
    made = [submit(name=f"n{number:02}")["id"] for number in range(30)][::-1]
    seen = look(f"/?newer_than={made[5]}")
    assert [card["id"] for card in seen.cards] == made[:24]
    assert "Newer jobs" not in seen.links


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("label=town", "label is 'town'; it must be of the form key:value"),
        ("label=a:1&label=a:2", "asked for with two values"),
        ("status=done", "status is 'done'; allowed are queued"),
    ],
)
def test_a_filter_that_cannot_be_read_is_told_of_beside_it(look, submit, query: str, words: str):
    submit(name="Harbour")
    seen = look(f"/?{query}", status=400)
    assert words in seen.text
    assert seen.cards == []
    assert look(f"/?{query}&name=x", status=400).fields["name"] == "x"


def test_a_page_token_of_other_filters_is_a_problem(look, submit):
    for _ in range(25):
        submit()
    token = urlsplit(look().links["Older jobs"]).query
    seen = look(f"/?{token}&name=x", status=400)
    assert "belongs to another search: begin again at the first page." in seen.text


def test_it_asks_again_only_while_something_changes(client, submit, workshop):
    refresh = '<noscript><meta http-equiv="refresh"'
    job_id = submit()["id"]
    assert refresh in client.get("/").text
    workshop.claim(job_id)
    workshop.succeed(job_id)
    assert refresh not in client.get("/").text


def test_names_and_labels_are_text(client, submit):
    submit(name="<script>alert(1)</script>", labels={"a": '"><b>'})
    page = client.get("/").text
    assert "<script>alert" not in page
    assert "<b>" not in page


def parts_url(html: str) -> str:
    return html.split('data-parts="')[1].split('"')[0].replace("&amp;", "&")


def drawn(html: str) -> list[str]:
    """What of a page its parts draw again, by lines: the choices, and all from the cards on; without ages."""
    choices = html[html.index('<ul class="choices"') :].split("</ul>")[0]
    cards = html[html.index('<ul class="gallery"') :].split('<p class="notice warning away"')[0]
    text = re.sub(r"(data-age>)[^<]*", r"\1", choices + cards)
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_what_the_page_asks_for_again_is_the_page(client, submit, workshop):
    for number in range(30):
        job_id = submit(name=f"n{number}", labels={"a": "b"})["id"]
    workshop.claim(job_id)
    workshop.progress(job_id, 40)
    seen = Seen(client.get("/?label=a:b").text)
    for path in ("/?label=a:b", seen.links["Older jobs"]):
        html = client.get(path).text
        again = client.get(parts_url(html))
        assert again.status_code == 200
        told, shown = Seen(again.text), Seen(html)
        assert told.cards == shown.cards
        assert told.counts == shown.counts
        assert (told.counts["all"], told.counts["queued"]) == ("30", "29")
        assert told.links.get("Older jobs") == shown.links.get("Older jobs")
        assert drawn(again.text) == drawn(html)


def test_parts_that_are_as_they_were_are_not_sent_again(client, submit, workshop):
    job_id = submit(name="Harbour")["id"]
    first = client.get("/parts/jobs")
    known = {"If-None-Match": first.headers["ETag"]}
    assert client.get("/parts/jobs", headers=known).status_code == 304
    # However they are packed.
    packed = client.get("/parts/jobs", headers={**known, "Accept-Encoding": "gzip"})
    assert (packed.status_code, packed.data) == (304, b"")
    # Ages grow in the page that is open; they alone are no news.
    assert "data-age></time>" in first.text
    workshop.claim(job_id)
    after = client.get("/parts/jobs", headers=known)
    assert after.status_code == 200
    workshop.progress(job_id, 7)
    assert client.get("/parts/jobs", headers={"If-None-Match": after.headers["ETag"]}).status_code == 200


def test_single_jobs_are_drawn_by_their_ids(client, submit, services):
    first, second, other = (submit(name=name)["id"] for name in ("first", "second", "other"))
    with services.backend.database.write() as session:
        session.execute(update(Job).where(Job.id == other).values(caller="someone else"))
    query = "&".join(f"id={job_id}" for job_id in (second, "nothing", other, first))
    answer = client.get(f"/parts/jobs?{query}")
    assert {card["name"] for card in Seen(answer.text).cards} == {"first", "second"}
    assert answer.headers["ETag"]
    gone = client.get("/parts/jobs?id=nothing")
    assert (gone.status_code, Seen(gone.text).cards) == (200, [])


def test_parts_that_cannot_be_asked_for_are_refused(client, problem_of):
    problem_of(client.get("/parts/jobs?status=done"), 400, "invalid_request")
    problem = problem_of(client.get("/parts/jobs?" + "id=a&" * 25), 400, "invalid_request")
    assert "at most 24 jobs" in problem["detail"]
