"""The views as a learner uses them: JupyterLab in a real browser, by keyboard alone; axe-core, and pictures kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_help import CHROMIUM_FLAGS, FOCUSED, READY, RUN_ALL, START, Desk, jupyterlab, leftovers, wait_for
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import sync_playwright

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.xdist_group("views")]

KERNEL = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}
SERVICE, BROKER, LETTERS = "Service payments", "RabbitMQ", "Dead letters in orders.dead"
TIMELINE, PREDICTION = "Message timeline", "Predict"
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("views")


@pytest.fixture(scope="module")
def desk(folder: Path, chromium: str) -> Iterator[Desk]:
    notebook = new_notebook(cells=[new_code_cell(one) for one in CELLS], metadata=KERNEL)
    nbformat.write(notebook, folder / "views.ipynb")
    with jupyterlab(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        try:
            desk = Desk(browser.new_page(viewport={"width": 1200, "height": 1000}), address)
            desk.open("views.ipynb")
            desk.page.evaluate(RUN_ALL)
            desk.page.wait_for_function("document.querySelectorAll('.dlo-view').length == 5", timeout=90_000)
            yield desk
        finally:
            browser.close()


def test_a_service_is_killed_and_restarted_by_keyboard(desk: Desk):
    """Focus stays on the button that was pressed; the state is announced, with a word, not by colour alone."""
    desk.press(SERVICE, "Kill")
    desk.until_says(SERVICE, "✕ killed; 0 of 1 processes ready")
    assert desk.page.evaluate(FOCUSED)["text"] == "Kill"
    assert desk.view(SERVICE).get_by_role("button", name="Pause").get_attribute("aria-disabled") == "true"
    assert desk.run("print(payments.state)") == "killed\n"
    desk.press(SERVICE, "Restart", "Space")
    desk.until_says(SERVICE, "● ready; 1 of 1 processes ready")
    assert desk.complaints == []


def test_a_button_works_while_a_cell_waits(desk: Desk):
    desk.page.evaluate(START, "await asyncio.sleep(60)")
    desk.press(SERVICE, "Pause")
    desk.until_says(SERVICE, "‖ paused", within=10)
    desk.press(SERVICE, "Resume")
    desk.until_says(SERVICE, "● ready", within=10)
    desk.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")


def test_a_killed_consumer_s_message_is_redelivered_and_the_timeline_shows_it(desk: Desk):
    desk.run('await client.emit("order.placed", {"id": 7, "total": 7, "takes": 4}, message_id="order-7")')
    desk.until(SERVICE, "charging {'id': 7")
    desk.press(SERVICE, "Kill")
    desk.until_says(SERVICE, "✕ killed")
    desk.press(SERVICE, "Restart")
    desk.until(SERVICE, "charged 7")
    wait_for(lambda: "acknowledged" in desk.run("print(seen.timeline('order-7'))"), 10, "the acknowledgement")
    desk.choose(TIMELINE, "order-7")
    desk.until_says(TIMELINE, "of message order-7")
    picture = desk.view(TIMELINE).locator("svg").get_attribute("aria-label") or ""
    assert "of 1 message" in picture
    assert "2 received" in picture
    assert "killed" in picture
    desk.keep(TIMELINE, "a-killed-consumer-s-message")


def test_a_message_is_followed_by_a_click_in_the_picture(desk: Desk):
    desk.view(TIMELINE).get_by_label("all:").check()
    desk.until_says(TIMELINE, "of all messages")
    desk.view(TIMELINE).locator("rect[data-message='order-0']").click()
    desk.until_says(TIMELINE, "of message order-0")
    assert desk.view(TIMELINE).locator("[data-message='order-1']").count() == 0


def test_the_link_is_cut_healed_and_made_slow_by_keyboard(desk: Desk):
    desk.press(BROKER, "Cut the link")
    desk.until_says(BROKER, "✕ cut")
    desk.press(BROKER, "Heal the link")
    desk.until_says(BROKER, "whole")
    desk.tab_to(BROKER, "Latency each way")
    for _ in range(3):
        desk.page.keyboard.press("ArrowRight")
    desk.until_says(BROKER, "Latency(latency=0.03")
    desk.keep(BROKER, "broker-panel")
    desk.page.keyboard.press("Home")
    desk.until_says(BROKER, "its link is whole")
    wait_for(lambda: "Latency" not in desk.says(BROKER), 10, "the end of the latency")


def type_data(desk: Desk, text: str) -> None:
    """Write over the data of the letter that is chosen."""
    desk.tab_to(LETTERS, "Data, as JSON: repair them here, then requeue")
    desk.page.keyboard.press("ControlOrMeta+a")
    desk.page.keyboard.type(text)


def test_what_goes_wrong_stands_in_the_view(desk: Desk):
    """First what happened and what to do, the traceback folded below; nothing was done."""
    desk.until_says(LETTERS, "2 letters")
    desk.keep(LETTERS, "dead-letters")
    type_data(desk, '{"id": 2, "total": no}')
    desk.press(LETTERS, "Requeue this one")
    alert = desk.view(LETTERS).get_by_role("alert")
    alert.get_by_text("is no JSON").first.wait_for()
    assert "Nothing was sent" in alert.inner_text()
    assert "Error" not in alert.get_by_text("Traceback", exact=True).inner_text()
    assert desk.view(LETTERS).locator("details").get_attribute("open") is None
    assert desk.run('print(len(await rabbit.dead_letters("orders.dead")))') == "2\n"
    desk.keep(LETTERS, "a-repair-that-is-no-json")


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
        desk.keep(SERVICE, "service-panel-dark")
        desk.page.evaluate(
            "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})"
        )


def test_dead_letters_are_repaired_and_requeued_until_none_is_left(desk: Desk):
    type_data(desk, '{"id": 20, "total": 20}')
    desk.press(LETTERS, "Requeue this one")
    desk.until_says(LETTERS, "1 letter. ")
    desk.until(SERVICE, "charged 20")
    assert not desk.view(LETTERS).get_by_role("alert").inner_text()
    type_data(desk, '{"id": 30, "total": -30}')
    desk.press(LETTERS, "Requeue this one")
    wait_for(lambda: "-30" in desk.run('print(await rabbit.dead_letters("orders.dead"))'), 10, "the letter's return")
    desk.press(LETTERS, "Look again")
    desk.press(LETTERS, "Drop this one")
    desk.until_says(LETTERS, "no letters")
    assert desk.run('print(len(await rabbit.dead_letters("orders.dead")))') == "0\n"


def test_a_guess_is_made_by_keyboard_and_its_misconception_answered(desk: Desk, folder: Path):
    desk.tab_to(PREDICTION, "a: two")
    desk.page.keyboard.press("Space")
    desk.until_says(PREDICTION, "Noted: a")
    said = desk.run('print(letters.reveal("b"))')
    assert "You said a: two. An error that is permanent is not retried" in said
    assert '"guess": "a"' in (folder / "progress.jsonl").read_text()


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
