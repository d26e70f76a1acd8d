"""The status page as a person at a browser has it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.waiting import until

NEEDS = "no chromium and chromedriver on the PATH (Debian: chromium chromium-driver)"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--no-first-run",
    "--force-color-profile=srgb",
)


def find_programs() -> tuple[str, str] | None:
    """The browser and its driver, where both are installed."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def start_chromium(browser: str, driver: str) -> Chrome:
    """A browser without a window; whoever starts it quits it."""
    options = Options()
    options.binary_location = browser
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    chrome.set_page_load_timeout(20)
    return chrome


class Browser:
    """One tab at one page."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str, *, width: int = 1280, height: int = 1000, dark: bool = False) -> None:
        """Open `url` afresh, in a window of that many CSS pixels."""
        driver = self.driver
        driver.get_log("browser")
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.get(url)

    def text(self, selector: str = "body") -> str:
        """What can be read at the first element that matches."""
        try:
            return self.driver.find_element(By.CSS_SELECTOR, selector).text
        except StaleElementReferenceException:  # it was drawn anew just now
            return ""

    def sees(self, text: str, selector: str = "body", timeout_s: float = 15) -> str:
        """Wait until `text` can be read there; the whole text."""
        return until(
            lambda: text in (found := self.text(selector)) and found,
            timeout_s,
            lambda: f"{text!r} in {selector}, which reads {self.text(selector)[:1500]!r}",
        )

    def click(self, selector: str) -> None:
        """Click what matches; waits until it can be seen and used."""
        self.usable(selector).click()

    def press(self, label: str) -> None:
        """Click the visible button of that text."""
        found = until(
            lambda: [
                one
                for one in self.driver.find_elements(By.TAG_NAME, "button")
                if one.is_displayed() and one.is_enabled() and one.text == label
            ],
            what=f"a button {label!r}",
        )
        found[0].click()

    def usable(self, selector: str) -> Any:
        """The element, once it can be seen and used."""

        def look() -> Any:
            found = self.driver.find_elements(By.CSS_SELECTOR, selector)
            return found and found[0].is_displayed() and found[0].is_enabled() and found[0]

        return until(look, what=f"{selector} can be used")

    def hidden(self, selector: str) -> bool:
        """Whether nothing that matches can be seen."""
        return not any(
            one.is_displayed() for one in self.driver.find_elements(By.CSS_SELECTOR, selector)
        )

    def type_in(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.usable(selector).send_keys(text)

    def keys(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def tab_to(self, wanted: Callable[[Any], bool]) -> Any:
        """Press Tab until the focus is where `wanted` says."""
        for _ in range(60):
            self.driver.switch_to.active_element.send_keys(Keys.TAB)
            at = self.driver.switch_to.active_element
            if wanted(at):
                return at
        raise AssertionError("the keyboard does not get there")

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return {script}", *arguments)

    def complaints(self) -> list[str]:
        """What the console holds: errors of scripts, of the policy, of the network."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def picture(self, path: Path, most: int = 20_000) -> None:
        """Save the whole page as it looks, down to `most` pixels."""
        height = min(most, self.run("document.documentElement.scrollHeight"))
        width = self.run("innerWidth")
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))
