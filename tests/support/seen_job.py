"""The page of a job without scripts, read."""

from __future__ import annotations

from html.parser import HTMLParser

_EMPTY = {"img", "input", "meta", "link", "path", "canvas", "br"}


class SeenJob(HTMLParser):
    """What is on the page: its words, forms by action with their fields, pictures, and parts by name."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words = ""
        self.title = ""
        self.forms: list[dict[str, str]] = []
        self.pictures: dict[str, str] = {}
        self.parts: dict[str, str] = {}
        self.ids: dict[str, dict[str, str]] = {}
        self.invalid: set[str] = set()
        self.paths: dict[str, str] = {}
        self.refreshes = False
        self._stack: list[dict[str, str]] = []
        self._form: dict[str, str] = {}
        self.feed(html)

    @property
    def actions(self) -> list[str]:
        """What can be asked, without doubles, in the order of the page; links can be made of any job."""
        names = dict.fromkeys(form["action"].rsplit("/", 1)[-1] for form in self.forms)
        return [name for name in names if name not in ("share", "unshare")]

    def fields(self, action: str, number: int = 0) -> dict[str, str]:
        """Return what the form of an action would send as it is."""
        found = [form for form in self.forms if form["action"].endswith(f"/{action}")][number]
        return {name: value for name, value in found.items() if name != "action"}

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        if "id" in given:
            self.ids[given["id"]] = {"tag": tag, **given}
        if tag == "form":
            self._form = {"action": given["action"]}
            if "hidden" not in given:
                self.forms.append(self._form)
        if tag == "input" and "name" in given:
            self._form[given["name"]] = given.get("value", "")
        if tag == "option" and ("selected" in given or self._select() not in self._form):
            self._form[self._select()] = given["value"]
        if given.get("aria-invalid") == "true":
            self.invalid.add(given["name"])
        if tag == "img" and "src" in given:
            self.pictures[given["src"]] = given["alt"]
        if tag == "img":
            assert int(given["width"]) > 0, "a picture without a size moves all below it"
            assert int(given["height"]) > 0
        if tag == "path" and given.get("class", "").startswith("curve") and len(given["d"]) > 10:
            self.paths[given["class"].split()[-1]] = given["d"]
        if given.get("http-equiv") == "refresh":
            self.refreshes = True
        if tag not in _EMPTY:
            self._stack.append({"tag": tag, **given})

    def handle_endtag(self, tag):
        while self._stack and tag not in _EMPTY and self._stack.pop()["tag"] != tag:
            pass

    def handle_data(self, data):
        words = " ".join(data.split())
        if not words or any("hidden" in element for element in self._stack):
            return
        if self._stack[-1]["tag"] == "title":
            self.title = words
            return
        self.words += f"{words} "
        for element in self._stack:
            if "data-part" in element:
                part = element["data-part"]
                self.parts[part] = f"{self.parts.get(part, '')}{words} "

    def _select(self) -> str:
        return next(element["name"] for element in reversed(self._stack) if element["tag"] == "select")
