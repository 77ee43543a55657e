#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Looks at msg-exporter's page in Chromium, a check for each line of standard input.

    page-browser.py URL DIRECTORY SCREENSHOTS PATIENCE MSGCTL...

Each check is answered by a line: ok, or what is not so. Every wait is for a condition.
"""
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import traceback
import urllib.request

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

URL, DIR, SHOTS, PATIENCE = sys.argv[1:5]
MSGCTL = sys.argv[5:]
SIZES = {'wide': (1280, 800), 'narrow': (400, 800)}

# Keeps what the page has under way, so that it can be seen to rest, and what it breaks.
PROBE = '''
window.probe = { timers: new Set(), fetches: 0, refreshes: 0, violations: [] };
addEventListener('securitypolicyviolation', (e) => probe.violations.push(e.violatedDirective));
addEventListener('error', (e) => probe.violations.push(String(e.message)));
addEventListener('unhandledrejection', (e) => probe.violations.push(String(e.reason)));
{
	const set = setTimeout, clear = clearTimeout, ask = fetch, json = Response.prototype.json;
	const one = async (work) => { probe.fetches++; try { return await work; } finally { probe.fetches--; } };
	window.setTimeout = (f, ...more) => {
		const id = set(() => { probe.timers.delete(id); f(); }, ...more);
		probe.timers.add(id);
		return id;
	};
	window.clearTimeout = (id) => { probe.timers.delete(id); clear(id); };
	window.fetch = (url, ...more) => {
		probe.refreshes += url === 'api/status';
		return one(ask(url, ...more));
	};
	Response.prototype.json = function () { return one(json.call(this)); };
}
'''


class Wrong(Exception):
    pass


def require(true, text):
    if not true:
        raise Wrong(text)


def eventually(condition, text):
    """The condition's first true value; text says what it is that was not so."""
    end = time.monotonic() + int(PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        require(time.monotonic() < end, text() if callable(text) else text)
        time.sleep(0.05)


def browser_start():
    options = webdriver.ChromeOptions()
    # Chromium's own sandbox refuses root, which a test may be. Its memory is not to depend on /dev/shm.
    for word in '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', \
            '--disable-background-networking', '--no-first-run', '--user-data-dir=%s/browser' % DIR:
        options.add_argument(word)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    options.binary_location = shutil.which('chromium')
    service = Service(shutil.which('chromedriver'), log_path='%s/chromedriver.txt' % DIR)
    browser = webdriver.Chrome(service=service, options=options)
    browser.set_page_load_timeout(int(PATIENCE))
    browser.execute_cdp_cmd('Page.addScriptToEvaluateOnNewDocument', {'source': PROBE})
    return browser


driver = None
msgd_is_away = False


# ---- the page -------------------------------------------------------------------------

def script(text, *args):
    return driver.execute_script('return ' + text, *args)


def text_of(selector):
    return script('document.querySelector(arguments[0])?.textContent ?? ""', selector)


def state():
    return script('document.getElementById("state").dataset.state')


def table(name):
    """The rows of one table, each a dict by the titles of its columns."""
    script('document.getElementById("tab-" + arguments[0]).click()', name)
    return eventually(lambda: script('''(() => {
        const table = document.querySelector("#panel table"), tab = document.querySelector("[aria-selected=true]");
        if (tab.id !== "tab-" + arguments[0] || table.tBodies[0].rows.length === 0) return null;
        const titles = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
        return [...table.tBodies[0].rows].map((row) =>
            Object.fromEntries([...row.cells].map((cell, i) => [titles[i], cell.textContent])));
        })()''', name), 'the table %s is empty' % name)


def nodes():
    return script('[...document.querySelectorAll("#map .node")].map((node) => '
                  '[node.querySelector("title").textContent, node.getAttribute("transform")])')


def refreshes(n):
    """Waits until n answers are shown that were asked for from now on."""
    start = script('probe.refreshes')
    eventually(lambda: script('probe.refreshes') > start + n, 'the page asks no more')


def number(text):
    """"1.5 kB/s" in its unit."""
    digits, _, unit = text.replace('\u00a0', ' ').partition(' ')
    return float(digits) * {'k': 1e3, 'M': 1e6, 'G': 1e9}.get(unit[:1], 1)


def nothing_broken():
    violations = script('probe.violations')
    require(not violations, 'broken: %s' % violations)
    entries = [entry['message'] for entry in driver.get_log('browser')
               # Where msgd is away, the exporter's answer is no success, or there is none: Chromium says so.
               if not (msgd_is_away and entry['source'] == 'network')]
    require(not entries, 'on the console: %s' % entries)


def picture(name, size, dark):
    width, height = SIZES[size]
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
        'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': False})
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {
        'features': [{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}]})
    eventually(lambda: script('document.querySelector("#map").getBoundingClientRect().right <= innerWidth'),
               'the drawing does not fit into %d' % width)
    require(script('document.documentElement.scrollWidth <= innerWidth'), 'the page is wider than %d' % width)
    path = '%s/%s-%s%s.png' % (SHOTS, name, size, '-dark' if dark else '')
    require(driver.save_screenshot(path), 'no screenshot')


# ---- checks --------------------------------------------------------------------------------------

def check_opens():
    with urllib.request.urlopen(URL) as answer:
        policy = answer.headers['Content-Security-Policy'] or ''
    require("default-src 'self'" in policy, 'without its policy the browser finds no breach: %s' % policy)
    driver.get(URL)
    eventually(lambda: state() == 'live', lambda: 'the page says: %s' % text_of('#state'))


def check_shows(*domains):
    drawn = eventually(lambda: [title for title, _ in nodes()], 'no domains are drawn')
    for domain in domains:
        require(any(title.startswith(domain + ',') for title in drawn), '%s is not among %s' % (domain, drawn))
        require(any(row['Domain'].strip() == domain for row in table('domains')), '%s is in no table' % domain)
    require(any(row['Name'] == 'web/slow' and row['State'] == 'open' for row in table('names')), 'no name web/slow')
    eventually(lambda: any({row['From'], row['To']} == {'web', 'shop'} and row['Transport'] == 'argo'
                           for row in table('links')), 'no link of web and shop')
    require(any(row['To'] == 'web/slow' for row in table('channels')), 'no channel to web/slow')
    require(any(row['Program'] == 'peer' for row in table('applications')), 'no application')
    edges = script('[...document.querySelectorAll("#map .edge")].map((edge) => '
                   '[edge.dataset.transport, edge.textContent])')
    require(any(kind == 'argo' and 'shop' in title and 'web' in title for kind, title in edges),
            'no edge of web and shop: %s' % edges)


def check_stages():
    require(any(row['Stage'] == 'link' and row['Connects'] != '0' for row in table('connects')), 'no stages')


def sent_by_shop():
    answer = subprocess.run(MSGCTL + ['--json', 'domains', '--domain=shop'], stdout=subprocess.PIPE, check=True)
    return json.loads(answer.stdout)['domains'][0]['traffic']['tx_bytes'], time.monotonic()


def check_rates():
    """Policy bounds the traffic of shop, so that it is even, and that two who measure it at a time must agree."""
    def agree():
        before, start = sent_by_shop()
        refreshes(3)
        after, end = sent_by_shop()
        known = (after - before) / (end - start)
        shown = [row['Sent'] for row in table('domains') if row['Domain'] == 'shop'][0]
        seen.append('%s is shown, msgctl says %d B/s' % (shown, known))
        return known > 0 and shown != '–' and abs(number(shown) - known) < known / 5
    seen = []
    eventually(agree, lambda: 'rates: %s' % seen[-1])
    eventually(lambda: any(row['To'] == 'web/slow' and number(row['Sent'].replace('–', '0')) > 0
                           and number(row['Messages'].replace('–', '0')) > 0 for row in table('channels')),
               'the channel has no rate')


def check_quick():
    """An answer that is served again, in the second for which it is fresh, makes no rate of 0."""
    def even():
        shown = []
        for name in ('names', 'domains') * 3:
            table(name)
            shown.append([title for title, _ in nodes() if title.startswith('shop, ')][0])
        return 'shop, 0\u00a0B/s' not in shown
    eventually(even, 'the rate of shop is 0 now and then')


def check_last(*words):
    eventually(lambda: any(all(word in item for word in words) for item in
                           script('[...document.querySelectorAll("#last li")].map((li) => li.textContent)')),
               lambda: '%s: not in: %s' % (words, text_of('#last')))


def check_inert(*texts):
    check_last(*texts)
    eventually(lambda: any(title.startswith(texts[0]) for title, _ in nodes()) or
               any(texts[0] in row['Who'] for row in table('events')), 'it is not in the table')
    require(any(all(text in row['Who'] for text in texts) for row in table('events')), 'not in the events')
    require(script('document.querySelectorAll("img, s").length') == 0, 'a name became an element')
    require(script('document.title') == 'msgd', 'a name ran')


def check_steady():
    table('domains')
    before = nodes()
    refreshes(2)
    now = dict(place for place in ((title.split(',')[0], at) for title, at in nodes()))
    for title, at in before:
        name = title.split(',')[0]
        require(now.get(name, at) == at, '%s has moved' % name)


def press(*keys):
    webdriver.ActionChains(driver).send_keys(*keys).perform()


def focused():
    return script('document.activeElement.id || document.activeElement.textContent')


def check_keys():
    """Tables, order, filter and choice without a mouse."""
    script('document.getElementById("tab-domains").focus()')
    press(Keys.ARROW_RIGHT)
    require(focused() == 'tab-names', 'the focus is on %s' % focused())
    eventually(lambda: text_of('caption') == 'Names', 'another table than that of names')
    press(Keys.ARROW_LEFT)
    eventually(lambda: text_of('caption') == 'Domains', 'another table than that of domains')
    first = [row['Domain'] for row in table('domains')]
    script('document.querySelector("thead th:nth-child(2) button").focus()')
    press(Keys.ENTER)
    require(script('document.querySelector("thead th:nth-child(2)").ariaSort') == 'descending', 'no order is told')
    require([row['Domain'] for row in table('domains')] == first[::-1], 'the order is another')
    press(Keys.ENTER)
    driver.find_element(By.ID, 'filter').send_keys('web running')
    require([row['Domain'] for row in table('domains')] == ['web'], 'the filter leaves others')
    driver.find_element(By.ID, 'filter').clear()
    eventually(lambda: len(table('domains')) == len(first), 'the filter is still on')
    script('document.querySelector("#map [tabindex=\'0\']").focus()')
    for _ in nodes():
        if script('document.activeElement.textContent').startswith('web,'):
            break
        press(Keys.ARROW_RIGHT)
    press(Keys.ENTER)
    require([row['Domain'] for row in table('domains')] == ['web'], 'web was not chosen')
    script('document.getElementById("chosen").click()')
    require(len(table('domains')) == len(first), 'web is still chosen')


RESTS = 'probe.timers.size === 0 && probe.fetches === 0'


def check_hidden():
    """Headless, no page is hidden: so it is told that it is."""
    hide = ('void (Object.defineProperty(document, "hidden", { configurable: true, get: () => %s }), '
            'document.dispatchEvent(new Event("visibilitychange")))')
    script(hide % 'true')
    eventually(lambda: script(RESTS), 'a hidden page goes on')
    asked = script('probe.refreshes')
    script(hide % 'false')
    eventually(lambda: script('probe.refreshes') > asked, 'the page does not go on')
    eventually(lambda: state() == 'live', 'the page does not say that it is live')


def check_paused():
    script('document.getElementById("pause").click()')
    eventually(lambda: script(RESTS), 'a paused page goes on')
    require(state() == 'paused' and script('document.getElementById("pause").ariaPressed') == 'true',
            'it does not say so: %s' % text_of('#state'))
    script('document.getElementById("pause").click()')
    eventually(lambda: state() == 'live', 'it does not go on')


def check_away(who):
    global msgd_is_away  # pylint: disable=global-statement
    msgd_is_away = True
    nothing_broken()
    words = 'No answer from %s since ' % {'msgd': 'msgd', 'exporter': 'the exporter'}[who]
    eventually(lambda: state() == 'away' and text_of('#state').startswith(words),
               lambda: 'it says: %s' % text_of('#state'))
    since = text_of('#state')
    require(driver.find_element(By.ID, 'away').is_displayed() and 'What is shown is from' in text_of('#away'),
            'it does not say from when it is: %s' % text_of('#away'))
    require(any(title.startswith('web,') for title, _ in nodes()), 'what was known is not shown')
    asked = script('probe.refreshes')
    eventually(lambda: script('probe.refreshes') > asked + 1, 'it does not try again')
    require(text_of('#state') == since, 'it says another time: %s, %s' % (since, text_of('#state')))


def check_opens_away():
    """Opened while msgd is away: nothing is shown but that."""
    driver.get(URL)
    eventually(lambda: text_of('#state').startswith('No answer from msgd since this page was opened'),
               lambda: 'it says: %s' % text_of('#state'))
    require(not driver.find_element(By.ID, 'tables').is_displayed(), 'empty tables are shown')


def check_back(who):
    global msgd_is_away  # pylint: disable=global-statement
    eventually(lambda: text_of('#state').startswith('Live again; %s was away for' % {
        'msgd': 'msgd', 'exporter': 'the exporter'}[who]), lambda: 'it says: %s' % text_of('#state'))
    require(not driver.find_element(By.ID, 'away').is_displayed(), 'it still says that none answers')
    said = text_of('#state')
    refreshes(1)
    require(text_of('#state') == said, 'it says another time: %s, %s' % (said, text_of('#state')))
    driver.get_log('browser')
    msgd_is_away = False


def check_grouped(most):
    eventually(lambda: 'without links' in text_of('#map-note'), 'it does not say that domains are drawn together')
    require(len(nodes()) <= int(most), '%d nodes' % len(nodes()))
    eventually(lambda: any('60' in row['Domain'] for row in table('domains')), 'guest-60 is not in the table')


def check_bounded(rows):
    eventually(lambda: len(table('channels')) == int(rows) and text_of('#rows').startswith('The first %s of 3' % rows),
               lambda: '%d rows, and it says: %s' % (len(table('channels')), text_of('#rows')))


def check_shots(name):
    for size in reversed(SIZES):  # and wide again in the end
        for dark in True, False:
            picture(name, size, dark)


def check_ends():
    nothing_broken()
    driver.quit()


checks = {name[len('check_'):].replace('_', '-'): value for name, value in list(globals().items())
          if name.startswith('check_')}


def main():
    global driver  # pylint: disable=global-statement
    os.environ['HOME'] = DIR  # Chromium leaves things in it
    driver = browser_start()
    for line in sys.stdin:
        name, *words = shlex.split(line)
        try:
            checks[name](*words)
            if name not in ('ends', 'away', 'opens-away'):
                nothing_broken()
            print('ok', flush=True)
        except Exception as error:  # pylint: disable=broad-except
            if not isinstance(error, Wrong):
                traceback.print_exc()
            if name != 'ends':
                driver.save_screenshot('%s/failed-%s.png' % (SHOTS, name))
            print(('%s' % error).replace('\n', ' ') or repr(error), flush=True)
            driver.quit()
            return


main()
