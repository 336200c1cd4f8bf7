"""Questions on the built page: answered without a kernel, by keyboard, counted, and erased."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page

from tests.asked import NAMES, NEARLY, QUESTIONS, Choice, Numeric

from .conftest import HTML, LESS, MATHEMATICS, TYPESET, Open, quiet, typeset
from .test_access import told, violations

PAGES = {n: f"book/{stem}.html" for n, stem in NAMES.items()}
FIRST, SECOND = PAGES[1], PAGES[2]
OF_FIRST = [name for name in QUESTIONS if name.startswith("1.")]
ASKING = [PAGES[n] for n in sorted({int(name.split(".")[0]) for name in QUESTIONS})]
# A browser that refuses to keep what the book asks it to.
REFUSES = """for (const does of ["getItem", "setItem", "removeItem"]) {
  const plain = Storage.prototype[does];
  Storage.prototype[does] = function (key, ...rest) {
    if (key.startsWith("ddpm-")) throw new DOMException("refused", "SecurityError");
    return plain.call(this, key, ...rest);
  };
}"""
# Where the entries of the contents stand, and what is above them.
PLACES = """[
  ...document.querySelectorAll(".reading-aids *, .bd-sidebar-primary .bd-links a"),
].map((e) => {
  const { left, top, width, height } = e.getBoundingClientRect();
  return e.className === "questions-answered" ? [left, top] : [left, top, width, height];
})"""


def of(view: Page, name: str) -> Locator:
    return view.locator(f"[data-question='{name}']")


def go(view: Page, address: str) -> None:
    """To another page, once this one has all it asked for: what is cut off would be a fault."""
    quiet(view)
    view.goto(address)


def check(root: Locator) -> str:
    root.get_by_role("button", name="Check").click()
    return root.get_by_role("status").inner_text()


def put_in_order(root: Locator, order: tuple[int, ...]) -> None:
    """By the buttons alone: bring one line after the other up to its place."""
    for place, line in enumerate(order):
        up = root.locator(f"li[data-line='{line}'] button[data-move='-1']")
        while root.locator("li[data-line]").nth(place).get_attribute("data-line") != str(line):
            up.click()
            assert up.evaluate("e => e === document.activeElement"), "the focus stays"


def answer(root: Locator, question: Any, given: Any) -> None:
    if isinstance(question, Numeric):
        root.get_by_label("Your answer").fill(f"{given:.10g}")
    elif isinstance(question, Choice):
        root.get_by_role("radio").nth(list(question.options).index(given)).check()
    else:
        put_in_order(root, given)


def tries(question: Any) -> tuple[list[Any], Any]:
    """The wrong answers with a reason, and the right one."""
    if isinstance(question, Numeric):
        return [value() for value in question.wrong.values()], question.right()
    if isinstance(question, Choice):
        return [o for o in question.options if o != question.right()], question.right()
    right = tuple(range(len(question.lines)))
    turned = []
    for a, b in question.before:
        order = list(right)
        order[a], order[b] = order[b], order[a]
        turned.append(tuple(order))
    return turned, right


@pytest.mark.parametrize("page", ASKING)
def test_every_answer_meets_its_verdict(page: str, server: str, visit: Open) -> None:
    view = visit(f"{server}/{page}", without=TYPESET)
    view.wait_for_function("document.querySelectorAll('mjx-container').length > 20")
    typeset(view)
    chapter = int(Path(page).name[:2])
    names = [name for name in QUESTIONS if name.split(".")[0] == str(chapter)]
    assert view.locator(".question").count() == len(names)
    for count, name in enumerate(names, 1):
        root, question = of(view, name), QUESTIONS[name]
        wrong, right = tries(question)
        for given in [*wrong, right]:
            verdict = question.verdict(given)
            answer(root, question, given)
            said = check(root)
            assert said.startswith("Right. " if verdict.right else "Not right. "), name
            reason = root.locator(".reason").nth(question.reasons.index(verdict.why))
            given_reason = root.get_by_role("status").evaluate("e => e.textContent")
            assert given_reason.split(". ", 1)[1] == reason.evaluate("e => e.textContent"), name
            assert root.locator(".question-verdict .math:not(:has(mjx-container))").count() == 0
            assert root.locator(".question-done").is_visible() == verdict.right
        assert view.locator(".questions-answered").inner_text() == (
            f"{count} of {len(QUESTIONS)} answered"
        )
    found = violations(view, ".question")
    assert not found, "\n".join(map(told, found))


def test_by_keyboard_alone(base: str, visit: Open) -> None:
    kinds = {question.kind: name for name, question in QUESTIONS.items()}
    for kind, name in kinds.items():
        view = visit(f"{base}/{PAGES[int(name.split('.')[0])]}")
        root, question = of(view, name), QUESTIONS[name]
        _, right = tries(question)
        if isinstance(question, Numeric):
            root.get_by_role("textbox").focus()
            view.keyboard.type(f"{right:.10g}")
            view.keyboard.press("Enter")
        elif isinstance(question, Choice):
            root.get_by_role("radio").first.focus()
            view.keyboard.press("Space")
            for _ in range(list(question.options).index(right)):
                view.keyboard.press("ArrowDown")
            view.keyboard.press("Enter")
        else:
            for place, line in enumerate(right):
                item = root.locator(f"li[data-line='{line}']")
                item.get_by_role("button").first.focus()
                while item.evaluate("e => [...e.parentElement.children].indexOf(e)") > place:
                    view.keyboard.press("ArrowUp")
                    said = root.get_by_role("status").inner_text()
                    assert re.match(rf"Line \d of {len(right)}: ", said)
            root.get_by_role("button", name="Check").focus()
            view.keyboard.press("Enter")
        assert root.get_by_role("status").inner_text().startswith("Right."), kind


NO_NUMBER = "Type a number, such as 0.25, 1/4 or 1e-3."


def typed_in(root: Locator, text: str) -> str:
    """The verdict of it, and not of what was typed before."""
    field = root.get_by_label("Your answer")
    field.fill("no number")
    assert check(root) == NO_NUMBER
    field.fill(text)
    return check(root)


def test_numbers_as_readers_write_them(server: str, visit: Open) -> None:
    root = of(visit(f"{server}/{SECOND}", without=LESS), "2.1")
    for typed in ("0,4", "2/5", "0,2/0,5", "4e-1", " .4 ", "40%", "40 %"):
        assert typed_in(root, typed).startswith("Right."), typed
    for typed in ("40", "\u22120.4", "4/5"):
        assert typed_in(root, typed).startswith("Not right."), typed


def test_what_is_no_number_is_no_answer(server: str, visit: Open) -> None:
    root = of(visit(f"{server}/{SECOND}", without=LESS), "2.1")
    for typed in ("", "a half", "1/2/3", "alert(1)", "0x1", "1/0", "%", "1 1/4"):
        root.get_by_label("Your answer").fill("0.4")
        assert check(root).startswith("Right.")
        root.get_by_label("Your answer").fill(typed)
        assert check(root) == NO_NUMBER, typed


def test_a_comma_is_read_both_ways(server: str, visit: Open) -> None:
    root = of(visit(f"{server}/{PAGES[4]}", without=LESS), "4.4")
    for typed in ("2,998", "+2,998", "5,996/2", "2,998,100/1,000,000"):
        assert typed_in(root, typed).startswith("Right."), typed


def test_every_minus_is_one(server: str, visit: Open) -> None:
    view = visit(f"{server}/{PAGES[9]}", without=LESS)
    root = of(view, "9.5")
    for minus in "-\u2212\u2010\u2011\u2013\u2014":
        for typed in (f"{minus}1", f"{minus}0,6/0,6", f"{minus} 3/3"):
            assert typed_in(root, typed).startswith("Right."), typed
    modes = view.locator(".question input[type='text']").evaluate_all(
        "a => a.map(e => e.inputMode)"
    )
    assert set(modes) == {""}, "a keyboard of decimals may lack the minus and the slash"


def test_two_digits_are_nearly_right(server: str, visit: Open) -> None:
    view = visit(f"{server}/{FIRST}", without=LESS)
    root = of(view, "1.2")
    root.get_by_label("Your answer").fill("0.22")
    assert check(root) == NEARLY
    assert not root.locator(".question-done").is_visible()
    root.get_by_label("Your answer").fill("0.24")
    assert check(root).startswith("Not right.")


def test_nothing_chosen_is_no_answer(server: str, visit: Open) -> None:
    name = next(n for n, q in QUESTIONS.items() if isinstance(q, Choice))
    view = visit(f"{server}/{PAGES[int(name.split('.')[0])]}", without=LESS)
    assert check(of(view, name)) == "Choose one of the answers."


def test_what_was_answered_is_kept_counted_and_erased(base: str, visit: Open) -> None:
    view = visit(f"{base}/{FIRST}", without=LESS)
    assert view.locator(".questions-answered").inner_text() == f"0 of {len(QUESTIONS)} answered"
    for name in OF_FIRST[:2]:
        answer(of(view, name), QUESTIONS[name], tries(QUESTIONS[name])[1])
        check(of(view, name))
    for page in (FIRST, SECOND, "search.html"):  # again, another chapter, and no chapter
        go(view, f"{base}/{page}")
        assert view.locator(".questions-answered").inner_text() == f"2 of {len(QUESTIONS)} answered"
        marks = view.locator(".chapter-answered").all_inner_texts()
        assert [mark for mark in marks if mark] == [f"2/{len(OF_FIRST)}"]
        done = view.locator(".question-done:visible").count()
        assert done == (2 if page == FIRST else 0)
    words, erase = view.locator(".questions-answered"), view.get_by_role("button", name="Erase")
    erase.click()
    assert words.inner_text() == "Press again to erase"
    for elsewhere in (
        lambda: view.locator("h1").first.click(),
        lambda: view.keyboard.press("Tab"),
    ):
        elsewhere()
        assert words.inner_text() == f"2 of {len(QUESTIONS)} answered"
        erase.click()
        assert words.inner_text() == "Press again to erase"
    erase.click()
    assert words.inner_text() == f"0 of {len(QUESTIONS)} answered"
    go(view, f"{base}/{FIRST}")
    assert view.locator(".question-done:visible").count() == 0
    assert view.evaluate("localStorage.getItem('ddpm-questions')") is None


def test_what_is_erased_is_taken_back(server: str, visit: Open) -> None:
    """Here, on another page of the browser, and on one that is gone back to."""
    view = visit(f"{server}/{FIRST}", without=LESS)
    answer(of(view, "1.4"), QUESTIONS["1.4"], QUESTIONS["1.4"].right())
    answer(of(view, "1.2"), QUESTIONS["1.2"], 0.0)
    assert check(of(view, "1.4")).startswith("Right.")
    refused = check(of(view, "1.2"))
    other = view.context.new_page()
    other.goto(f"{server}/{SECOND}")
    other.get_by_role("button", name="Erase").click()
    other.get_by_role("button", name="Erase").click()
    view.wait_for_function("!document.querySelector('.question[data-done]')")
    assert of(view, "1.4").get_by_role("status").inner_text() == ""
    assert of(view, "1.2").get_by_role("status").inner_text() == refused
    # As a browser shows a page that it has kept whole, which has missed events.
    answer(of(view, "1.4"), QUESTIONS["1.4"], QUESTIONS["1.4"].right())
    assert check(of(view, "1.4")).startswith("Right.")
    view.evaluate("localStorage.removeItem('ddpm-questions')")  # no event where it is done
    for persisted, done in ((False, 1), (True, 0)):
        view.evaluate(
            "p => dispatchEvent(new PageTransitionEvent('pageshow', {persisted: p}))", persisted
        )
        assert view.locator(".question-done:visible").count() == done


@pytest.mark.parametrize("kept", ["no JSON", '{"1.1": true}', '["1.1", "99.1", "1.99", "x"]'])
def test_what_is_kept_may_be_anything(kept: str, server: str, visit: Open) -> None:
    view = visit(f"{server}/{SECOND}", without=LESS)
    view.evaluate("kept => localStorage.setItem('ddpm-questions', kept)", kept)
    go(view, f"{server}/{FIRST}")
    known = 1 if kept.startswith("[") else 0
    assert view.locator(".questions-answered").inner_text().startswith(f"{known} of ")
    answer(of(view, "1.4"), QUESTIONS["1.4"], QUESTIONS["1.4"].right())
    assert check(of(view, "1.4")).startswith("Right.")
    go(view, f"{server}/{FIRST}")
    assert view.locator(".questions-answered").inner_text().startswith(f"{known + 1} of ")


def test_a_browser_that_keeps_nothing(server: str, visit: Open) -> None:
    view = visit("about:blank")
    view.add_init_script(REFUSES)
    go(view, f"{server}/{FIRST}")
    answer(of(view, "1.4"), QUESTIONS["1.4"], QUESTIONS["1.4"].right())
    assert check(of(view, "1.4")).startswith("Right.")
    assert view.locator(".questions-answered").inner_text() == (
        f"1 of {len(QUESTIONS)} answered, not kept"
    )
    view.get_by_label("Read without code").check()
    assert not view.locator(".cell_input").first.is_visible()


def test_nothing_is_moved_by_what_was_answered(server: str, visit: Open) -> None:
    """Neither the contents by their marks, nor a question by its tick."""
    view = visit(f"{server}/{SECOND}")
    places, title = [], "document.querySelector('.question-title').offsetHeight"
    for answered in ([], list(QUESTIONS)):
        view.evaluate(
            "names => localStorage.setItem('ddpm-questions', JSON.stringify(names))", answered
        )
        go(view, f"{server}/{SECOND}")
        typeset(view)
        places.append([view.evaluate(PLACES), view.evaluate(title)])
    assert view.locator(".chapter-answered:visible").count() == len(PAGES)
    assert places[0] == places[1]


def test_the_controls_are_there_before_any_script(server: str, visit: Open) -> None:
    """So that none of them appears late and moves what stands below."""
    view = visit(f"{server}/{SECOND}")
    for name in ("questions.js", "reading.js"):
        view.route(f"**/{name}*", lambda route: route.fulfill(body=""))
    heights = []
    for _ in range(2):
        go(view, f"{server}/{SECOND}")
        typeset(view)
        every = "all => all.map(e => e.getBoundingClientRect().height)"
        heights.append(view.locator(".question, .reading-aids").evaluate_all(every))
        view.unroute_all()
    assert len(heights[0]) > 1
    assert heights[0] == heights[1]


def test_without_scripts_the_answer_is_folded(server: str, browser: Browser) -> None:
    view = browser.new_page(java_script_enabled=False)
    view.goto(f"{server}/{SECOND}")
    root = of(view, "2.5")
    assert root.get_by_text("at the same step").is_visible()
    for control in (".question-act", "input", ".question-number"):
        assert not view.locator(f".question {control} >> visible=true").count()
    assert not view.locator(".reading-aids").is_visible()
    said = root.locator("details p").first
    assert not said.is_visible()
    root.get_by_text("Answer", exact=True).click()
    assert said.is_visible()
    assert said.inner_text() == f"{'ABC'[QUESTIONS['2.5'].key['right']]} is right."
    view.close()


def test_in_print_there_are_questions_and_no_answers(server: str, visit: Open) -> None:
    view = visit(f"{server}/{SECOND}", without=LESS)
    answer(of(view, "2.5"), QUESTIONS["2.5"], QUESTIONS["2.5"].right())
    check(of(view, "2.5"))
    view.emulate_media(media="print")
    assert of(view, "2.5").get_by_text("at the same step").is_visible()
    for part in ("verdict", "answer", "act", "number", "done"):
        assert not view.locator(f".question-{part} >> visible=true").count(), part


@pytest.mark.parametrize("page", ASKING)
def test_a_phone_has_room_for_them(page: str, server: str, visit: Open) -> None:
    view = visit(f"{server}/{page}", width=390)
    typeset(view)
    for answer in view.locator(".question-answer summary").all():
        answer.click()
    wide = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.id)"
    assert view.locator(".question").evaluate_all(wide) == []


@pytest.mark.parametrize("page", ASKING)
def test_no_answer_can_be_read_in_the_source(page: str) -> None:
    text = (HTML / page).read_text()
    chapter = int(Path(page).name[:2])
    for name, question in QUESTIONS.items():
        if name.split(".")[0] == str(chapter):
            for reason in question.reasons:
                longest = max(re.split(r"\$[^$]*\$|`[^`]*`|'", reason), key=len).strip()
                assert len(longest) < 20 or longest not in text, f"{name}: {longest}"


def test_reading_without_code(base: str, visit: Open) -> None:
    view = visit(f"{base}/{SECOND}", without=(MATHEMATICS,))
    code = view.locator(".cell:not(.tag_hide-cell) > .cell_input")
    outputs = view.locator(".cell:not(.tag_hide-cell) > .cell_output")
    shown = [outputs.nth(i).is_visible() for i in range(outputs.count())]
    switch = view.get_by_role("switch", name="Read without code")
    assert code.first.is_visible()
    assert not switch.is_checked()
    switch.focus()
    view.keyboard.press("Space")
    for page in (SECOND, FIRST):  # remembered, on every page
        assert switch.is_checked()
        assert code.count() > 5
        assert not any(cell.is_visible() for cell in code.all())
        assert view.locator("figcaption:visible").count() > 2
        assert view.get_by_text("agrees").first.is_visible()
        if page == SECOND:
            now = [outputs.nth(i).is_visible() for i in range(outputs.count())]
            assert now == shown
            view.get_by_text("Show the solution").first.click()
            assert view.locator("text=def jump_solution").first.is_visible()
        go(view, f"{base}/{FIRST}")
    switch.uncheck()
    go(view, f"{base}/{SECOND}")
    assert code.first.is_visible()


@pytest.mark.parametrize("page", PAGES.values())
def test_exercises_in_code_say_where_to_try_them(page: str) -> None:
    from ddpm_lite.checks import CHECKERS

    text = (HTML / page).read_text()
    number = int(Path(page).name[:2])
    found = re.findall(r'<p class="try-it">Try it: <a [^>]*href="([^"]+)"', text)
    assert len(found) == sum(key.startswith(f"{number}.") for key in CHECKERS)
    button = re.search(r'href="(https://colab\.research\.google\.com[^"]*)"[^>]*btn', text)
    assert button is not None
    assert set(found) <= {button[1]}
