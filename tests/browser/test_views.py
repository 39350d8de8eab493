"""The views as a learner uses them: JupyterLab in a real browser, by keyboard alone; axe-core, and pictures kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_help import CHROMIUM_FLAGS, READY, ROOT, RUN_ALL, jupyterlab, leftovers, wait_for
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page, sync_playwright

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.xdist_group("views")]

# a run of the tests changes no file of the repository; `CLASSROOM_GALLERY=1 make test` makes the gallery anew
GALLERY = ROOT / "docs" / "gallery" if os.environ.get("CLASSROOM_GALLERY") else ROOT / ".artifacts" / "gallery"
KERNEL = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}
VIEWS = ["service", "broker", "letters", "timeline", "prediction"]
CELLS = [
    "import asyncio\n"
    "from classroom import dead_letter_browser, panel, predict, start_broker, timeline\n"
    "from classroom.observe import observe\n"
    "from postoffice import Client\n"
    "seen = await observe()\n"
    'rabbit = await start_broker("rabbitmq", link=True)',
    "%%service payments --on rabbit --delivery at-least-once\n"
    "import asyncio\n"
    "from postoffice import event_pattern, PermanentError\n"
    '@event_pattern("order.placed", dead_letter="orders.dead")\n'
    "async def charge(data, ctx):\n"
    '    if data["total"] < 0:\n'
    '        raise PermanentError("the total is negative")\n'
    '    print("charging", data, flush=True)\n'
    '    await asyncio.sleep(data.get("takes", 0))\n'
    '    print("charged", data["id"], flush=True)',
    "await payments; panel(payments)",
    "panel(rabbit)",
    'client = await Client.connect(rabbit.direct_url, queue="payments", delivery="at-least-once")\n'
    "for number in range(4):\n"
    '    data = {"id": number, "total": 10 - 6 * number}\n'
    '    await client.emit("order.placed", data, message_id=f"order-{number}")\n'
    'while len(await rabbit.dead_letters("orders.dead")) < 2:\n'
    "    await asyncio.sleep(0.05)",
    'dead_letter_browser(rabbit, "orders.dead")',
    "timeline(seen)",
    "letters = predict(\n"
    '    "00.letters",\n'
    '    "Four orders are placed, two with a negative total. How many are tried again?",\n'
    '    {"a": "two", "b": "none"},\n'
    '    misconceptions={"a": "An error that is permanent is not retried: trying again could not help."},\n'
    "); letters",
]
RUN = """async (code) => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    let said = "";
    const future = kernel.requestExecute({code});
    future.onIOPub = (message) => {
        const content = message.content;
        said += content.text ?? content.data?.["text/plain"] ?? content.traceback?.join("\\n") ?? "";
    };
    await future.done;
    return said;
}"""
START = "(code) => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code}) && null"
FOCUSED = """() => {
    const at = document.activeElement;
    return {text: at.textContent, id: at.id, view: !!at.closest(".dlo-view"), label: at.labels?.[0]?.textContent ?? ""};
}"""


class Desk:
    """A notebook that is open in Lab, with all views alive."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_function(READY, timeout=90_000)
        self.page.evaluate(RUN_ALL)
        self.page.wait_for_function(f"document.querySelectorAll('.dlo-view').length == {len(VIEWS)}", timeout=90_000)

    def view(self, name: str) -> Locator:
        return self.page.locator(".dlo-view").nth(VIEWS.index(name))

    def run(self, code: str) -> str:
        """Run code in the notebook's kernel; what it printed or raised."""
        said: str = self.page.evaluate(RUN, code)
        return said

    def tab_to(self, name: str, control: str) -> None:
        """Reach a control of a view by the Tab key alone, from the one before the view."""
        self.view(name).locator("xpath=ancestor::div[contains(@class, 'jp-Cell ')]").locator(".jp-Editor").click()
        self.page.keyboard.press("Escape")
        seen: list[str] = []
        for _ in range(40):
            self.page.keyboard.press("Tab")
            at: dict[str, Any] = self.page.evaluate(FOCUSED)
            seen.append(at["text"][:30] or at["label"])
            if at["view"] and (at["text"] == control or at["label"].startswith(control)):
                return
        raise AssertionError(f"{control!r} of {name} cannot be reached by Tab: {seen}")

    def press(self, name: str, control: str, key: str = "Enter") -> None:
        self.tab_to(name, control)
        self.page.keyboard.press(key)

    def type_data(self, text: str) -> None:
        """Write over the data of the letter that is chosen."""
        self.tab_to("letters", "Data, as JSON: repair them here, then requeue")
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.type(text)

    def until(self, name: str, text: str, within: float = 30) -> None:
        """Wait until a view says something."""
        self.view(name).get_by_text(text).first.wait_for(timeout=within * 1000)

    def says(self, name: str) -> str:
        """What a screen reader is told without being asked."""
        return self.view(name).get_by_role("status").inner_text()

    def until_says(self, name: str, text: str, within: float = 30) -> None:
        wait_for(lambda: text in self.says(name), within, f"{text!r} in the status of {name}: {self.says(name)!r}")

    def keep(self, name: str, picture: str) -> None:
        """A picture of one view, for the gallery."""
        GALLERY.mkdir(parents=True, exist_ok=True)
        self.page.mouse.move(0, 0)
        self.view(name).scroll_into_view_if_needed()
        self.view(name).screenshot(path=GALLERY / f"{picture}.png")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("views")
    notebook = new_notebook(cells=[new_code_cell(one) for one in CELLS], metadata=KERNEL)
    nbformat.write(notebook, folder / "views.ipynb")
    with jupyterlab(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        try:
            desk = Desk(browser.new_page(viewport={"width": 1200, "height": 1000}), folder)
            desk.open(address.format("views.ipynb"))
            yield desk
        finally:
            browser.close()


def test_a_service_is_killed_and_restarted_by_keyboard(desk: Desk):
    """Focus stays on the button that was pressed; the state is announced, with a word, not by colour alone."""
    desk.press("service", "Kill")
    desk.until_says("service", "✕ killed; 0 of 1 processes ready")
    assert desk.page.evaluate(FOCUSED)["text"] == "Kill"
    assert desk.view("service").get_by_role("button", name="Pause").get_attribute("aria-disabled") == "true"
    assert desk.run("print(payments.state)") == "killed\n"
    desk.press("service", "Restart", "Space")
    desk.until_says("service", "● ready; 1 of 1 processes ready")
    assert desk.complaints == []


def test_a_button_works_while_a_cell_waits(desk: Desk):
    desk.page.evaluate(START, "await asyncio.sleep(60)")
    desk.press("service", "Pause")
    desk.until_says("service", "‖ paused", within=10)
    desk.press("service", "Resume")
    desk.until_says("service", "● ready", within=10)
    desk.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")


def test_a_killed_consumer_s_message_is_redelivered_and_the_timeline_shows_it(desk: Desk):
    desk.run('await client.emit("order.placed", {"id": 7, "total": 7, "takes": 4}, message_id="order-7")')
    desk.until("service", "charging {'id': 7")
    desk.press("service", "Kill")
    desk.until_says("service", "✕ killed")
    desk.press("service", "Restart")
    desk.until("service", "charged 7")
    wait_for(lambda: "acknowledged" in desk.run("print(seen.timeline('order-7'))"), 10, "the acknowledgement")
    desk.tab_to("timeline", "all:")
    for _ in range(5):
        desk.page.keyboard.press("ArrowDown")
        if desk.page.evaluate(FOCUSED)["label"].startswith("order-7"):
            break
    desk.until_says("timeline", "of message order-7")
    picture = desk.view("timeline").locator("svg").get_attribute("aria-label") or ""
    assert "of 1 message" in picture
    assert "2 received" in picture
    assert "killed" in picture
    desk.keep("timeline", "a-killed-consumer-s-message")


def test_a_message_is_followed_by_a_click_in_the_picture(desk: Desk):
    desk.view("timeline").get_by_label("all:").check()
    desk.until_says("timeline", "of all messages")
    desk.view("timeline").locator("rect[data-message='order-0']").click()
    desk.until_says("timeline", "of message order-0")
    assert desk.view("timeline").locator("[data-message='order-1']").count() == 0


def test_the_link_is_cut_healed_and_made_slow_by_keyboard(desk: Desk):
    desk.press("broker", "Cut the link")
    desk.until_says("broker", "✕ cut")
    desk.press("broker", "Heal the link")
    desk.until_says("broker", "whole")
    desk.tab_to("broker", "Latency each way")
    for _ in range(3):
        desk.page.keyboard.press("ArrowRight")
    desk.until_says("broker", "Latency(latency=0.03")
    desk.keep("broker", "broker-panel")
    desk.page.keyboard.press("Home")
    desk.until_says("broker", "its link is whole")
    wait_for(lambda: "Latency" not in desk.says("broker"), 10, "the end of the latency")


def test_what_goes_wrong_stands_in_the_view(desk: Desk):
    """First what happened and what to do, the traceback folded below; nothing was done."""
    desk.until_says("letters", "2 letters")
    desk.keep("letters", "dead-letters")
    desk.type_data('{"id": 2, "total": no}')
    desk.press("letters", "Requeue this one")
    alert = desk.view("letters").get_by_role("alert")
    alert.get_by_text("is no JSON").first.wait_for()
    assert "Nothing was sent" in alert.inner_text()
    assert "Error" not in alert.get_by_text("Traceback", exact=True).inner_text()
    assert desk.view("letters").locator("details").get_attribute("open") is None
    assert desk.run('print(len(await rabbit.dead_letters("orders.dead")))') == "2\n"
    desk.keep("letters", "a-repair-that-is-no-json")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing(desk: Desk, theme: str):
    """In light and dark: roles, names, contrast, keyboard."""
    desk.page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
    light = str(theme.endswith("Light")).lower()
    desk.page.wait_for_function(f"document.body.dataset.jpThemeLight == '{light}'")
    desk.page.wait_for_function("() => !document.querySelector('.jp-Spinner')")
    found = Axe().run(desk.page, context=".dlo-view")
    assert found.violations_count == 0, found.generate_report()
    assert len(found.response["passes"]) > 10, "axe looked at nothing"
    if light == "false":
        desk.keep("service", "service-panel-dark")
        desk.page.evaluate(
            "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})"
        )


def test_dead_letters_are_repaired_and_requeued_until_none_is_left(desk: Desk):
    desk.type_data('{"id": 20, "total": 20}')
    desk.press("letters", "Requeue this one")
    desk.until_says("letters", "1 letter. ")
    desk.until("service", "charged 20")
    assert not desk.view("letters").get_by_role("alert").inner_text()
    desk.type_data('{"id": 30, "total": -30}')
    desk.press("letters", "Requeue this one")
    wait_for(lambda: "-30" in desk.run('print(await rabbit.dead_letters("orders.dead"))'), 10, "the letter's return")
    desk.press("letters", "Look again")
    desk.press("letters", "Drop this one")
    desk.until_says("letters", "no letters")
    assert desk.run('print(len(await rabbit.dead_letters("orders.dead")))') == "0\n"


def test_a_guess_is_made_by_keyboard_and_its_misconception_answered(desk: Desk):
    desk.tab_to("prediction", "a: two")
    desk.page.keyboard.press("Space")
    desk.until_says("prediction", "Noted: a")
    said = desk.run('print(letters.reveal("b"))')
    assert "You said a: two. An error that is permanent is not retried" in said
    assert '"guess": "a"' in (desk.folder / "progress.jsonl").read_text()


def test_a_restart_of_the_kernel_ends_all(desk: Desk):
    """Nothing runs on: no service, no broker; no view pretends to be alive."""
    before = len(leftovers())
    desk.page.evaluate(
        "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart(); }"
    )
    desk.page.wait_for_function(READY, timeout=60_000)
    wait_for(lambda: len(leftovers()) < before, 20, "the end of the services")
    wait_for(lambda: not [one for one in leftovers() if "payments" in one or "rabbit" in one], 30, "the brokers' end")
    assert desk.page.locator(".dlo-view button:visible").count() == 0
