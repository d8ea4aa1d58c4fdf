"""HTML pages that are read as a browser reads them."""

from html.parser import HTMLParser

VOID = {"meta"}


class Page(HTMLParser):
    """Refuses what is not well-formed; collects tags and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert len({key for key, _ in attributes}) == len(attributes)
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def check_page(text):
    """Its numbers are numbers, it needs nothing else, and it can be heard."""
    check_numbers(text)
    check_alone(text)
    check_heard(text)


def check_numbers(text):
    for tag, attributes in Page(text).tags:
        if tag in ("rect", "line", "circle", "path", "text"):
            assert not any("nan" in str(value) or "inf" in str(value) for value in attributes.values()), attributes


def check_alone(text):
    """The page needs nothing else, and runs nothing."""
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not {"src", "srcset", "data", "xlink:href"} & set(attributes)
        assert not any(key.startswith("on") for key in attributes)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for attributes in page.of("a")]
    assert links and all(link[0] == "#" and link[1:] in ids for link in links)
    lower = text.lower()
    assert all(word not in lower for word in ("http:", "https:", "url(", "@import", "javascript:"))


def check_heard(text):
    """Pictures and tables have words for those who cannot see them."""
    page = Page(text)
    assert page.of("svg") and all(svg["role"] == "img" and svg["aria-label"].strip() for svg in page.of("svg"))
    assert page.of("table") and len(page.of("caption")) == len(page.of("table"))
    assert all(cell["scope"] in ("col", "row") for cell in page.of("th"))
    assert len(page.of("section")) == len(page.of("h2"))
