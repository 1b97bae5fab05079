"""Predict boxes as a reader meets them."""

import pytest

from dsd_lib.book import predict


def box(**options):
    defaults = {"answer": 1, "reveal": "Because `x` is **so**."}
    return predict("What happens?", ["nothing", "a lot"], **(defaults | options))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: predict("q", ["a"], answer=0, reveal="r"), "two or more different ones"),
        (lambda: predict("q", ["a", "a"], answer=0, reveal="r"), "two or more different ones"),
        (lambda: box(answer=2), "answer: expected 0 to 1, got 2"),
        (lambda: box(reveal=""), "got an empty one"),
    ],
)
def test_bad_input(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


def test_texts_cannot_break_out():
    body = predict("<i>", ["<b>", "</script>"], answer=0, reveal="<img>")._repr_html_()
    assert body.count("</script>") == 1
    assert not any(tag in body for tag in ("<i>", "<b>", "<img>"))


@pytest.mark.parametrize("width", [1000, 390])
def test_a_guess_opens_the_answer(opened, width):
    tab = opened(box(), width=width)
    answer = tab.locator("details p")
    assert not answer.is_visible()
    assert tab.get_by_role("status").inner_text() == ""
    tab.get_by_role("button", name="nothing").click()
    assert tab.get_by_role("status").inner_text() == "✗ Not quite: it is B."
    assert answer.is_visible() and "Because x is so." in answer.inner_text()
    tab.get_by_role("button", name="a lot").press("Enter")
    assert tab.get_by_role("status").inner_text() == "✓ That is right."
    assert tab.get_by_role("button", name="a lot").get_attribute("aria-pressed") == "true"
    assert tab.get_by_role("button", name="nothing").get_attribute("aria-pressed") == "false"
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_the_answer_opens_by_itself(opened):
    tab = opened(box(), scripts=False)
    assert tab.get_by_text("a lot").first.is_visible()
    assert tab.get_by_role("button").count() == 0
    tab.get_by_text("Show the answer").click()
    assert tab.get_by_text("Because").is_visible()
