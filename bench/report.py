#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The goals, and the report of what bench/run measured: text, JSON, Markdown, SVG.

    report.py [--json | --table] [--plot=FILE] [--gate] MEASURED

MEASURED is the output of msgbench. Each goal is a ratio of two values of one round; its median over
the rounds is held against the goal. --gate: the status is 1 if one is missed by more than half.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

GRANT, ARGO, STRICT = 'grant', 'argo', 'argo-strict'
RINGS = (GRANT, ARGO, STRICT)
BOTH = (GRANT, ARGO)
PEERS = ('SEQPACKET', 'SOCK_STREAM', 'pipe', 'ZeroMQ', 'nng', 'AF_VSOCK', *RINGS, 'futex',
         'cache line', 'memcpy')
LARGE_COPY = 'one way, 64 KiB'
ONE_CPU = ', one CPU'


class Measured:
    """The values of msgbench, by case and peer."""

    def __init__(self, data):
        self.rows = {(row['case'], row['peer']): row for row in data['measurements']}

    def values(self, case, peer, metric):
        row = self.rows.get((case, peer))
        return row and row[metric]

    def times(self, case, peer):
        """Of a round trip or message, in us."""
        rates = self.values(case, peer, 'rate')
        return rates and [1e6 / rate for rate in rates]


def ratios(over, under):
    return over and under and [a / b for a, b in zip(over, under)]


# ---- the goals -----------------------------------------------------------------------------

# Each function returns the values of all rounds, or None where something was not measured.


def rate_over(case, base='SEQPACKET', base_case=None):
    return lambda m, peer: ratios(m.values(case, peer, 'rate'),
                                  m.values(base_case or case, base or peer, 'rate'))


def time_over(case, base, base_case=None):
    return lambda m, peer: ratios(m.times(case, peer), m.times(base_case or case, base))


def cpu_over(case, base='SEQPACKET'):
    return lambda m, peer: ratios(m.values(case, peer, 'cpu_us'), m.values(case, base, 'cpu_us'))


def value_of(case, metric):
    return lambda m, peer: m.values(case, peer, metric)


def time_loaded(case):
    """Beside the round trip alone on one CPU and a copy of one large frame (memcpy's are two)."""
    def values(m, peer):
        alone, copies = m.times('round trip, 64 B' + ONE_CPU, peer), m.times(LARGE_COPY, 'memcpy')
        loaded = m.times(case, peer)
        return loaded and alone and copies and [
            time / (trip + copy / 2) for time, trip, copy in zip(loaded, alone, copies)]
    return values


def on_curve(kind, below, size, above):
    """The time of a message beside the one on the straight line between two neighbours."""
    def values(m, peer):
        rows = [m.rows.get((f'{kind}, {name}', peer)) for name in (below, size, above)]
        if None in rows:
            return None
        part = (rows[1]['size'] - rows[0]['size']) / (rows[2]['size'] - rows[0]['size'])
        times = zip(*(m.times(row['case'], peer) for row in rows))
        return [b / (a + part * (c - a)) for a, b, c in times]
    return values


class Goal:
    """name: what is compared; unit: what the number counts; why: the reason found for missing it,
    and the next idea; one_cpu: the same on one CPU, of a goal that is met by spinning."""

    def __init__(self, name, values, sense, goals, unit, one_cpu=None, why=None):
        self.name, self.values, self.sense, self.goals = name, values, sense, goals
        self.unit, self.one_cpu, self.why = unit, one_cpu, why or {}


def one_way(size, goals, base='SEQPACKET', **more):
    case = f'one way, {size}'
    return Goal(case, rate_over(case, base), '>=', goals, f"times {base}'s rate",
                rate_over(case + ONE_CPU, base), **more)


def loaded(load):
    case = f'loaded round trip, 64 B; {load}'
    return Goal(case, time_loaded(case), '<=', dict.fromkeys(BOTH, 3),
                'times the round trip alone on one CPU and a copy of 64 KiB')


def batches(how):
    case = f'one way, 64 B, batches of 32 by {how}'
    return one_way(case.removeprefix('one way, '), dict.fromkeys(BOTH, 50))


GOALS = (
    one_way('64 B', {GRANT: 25, ARGO: 10}),
    batches('MSG_MORE'),
    batches('sendmmsg'),
    one_way('4 KiB', dict.fromkeys(BOTH, 6)),
    one_way('64 KiB', dict.fromkeys(RINGS, 12)),
    one_way('1 MiB', dict.fromkeys(BOTH, 3), 'SOCK_STREAM'),
    Goal('one way, 700 B, between 64 B and 4 KiB', on_curve('one way', '64 B', '700 B', '4 KiB'),
         '<=', dict.fromkeys(BOTH, 1.25), 'times the time on the line between them'),
    Goal('one way, 20,000 B, between 4 KiB and 64 KiB',
         on_curve('one way', '4 KiB', '20,000 B', '64 KiB'),
         '<=', dict.fromkeys(BOTH, 1.25), 'times the time on the line between them'),
    Goal('round trip, 64 B, two CPUs', time_over('round trip, 64 B, two CPUs', 'cache line'),
         '<=', {GRANT: 1.25, ARGO: 2}, "times a cache line's time",
         time_over('round trip, 64 B, one CPU', 'futex')),
    Goal('round trip, 64 B, one CPU', time_over('round trip, 64 B, one CPU', 'futex'),
         '<=', dict.fromkeys(BOTH, 1.15), "times a futex's time"),
    Goal('round trip, 64 B, two CPUs, spinning off',
         time_over('round trip, 64 B, two CPUs, spinning off', 'futex'),
         '<=', dict.fromkeys(BOTH, 1.15), "times a futex's time"),
    Goal('connect, 1 B, close; one CPU', rate_over('connect, 1 B, close; one CPU'),
         '>=', dict.fromkeys(BOTH, 1.5), "times SEQPACKET's rate"),
    Goal('connect, 1 B, close; 16 in flight, one CPU',
         rate_over('connect, 1 B, close; 16 in flight, one CPU'),
         '>=', dict.fromkeys(BOTH, 2.5), "times SEQPACKET's rate with epoll"),
    Goal('channels, 64', rate_over('channels, 64'), '>=', dict.fromkeys(BOTH, 30),
         "times SEQPACKET's rate with epoll", rate_over('channels, 64, one CPU')),
    Goal('channels, 64, beside one', rate_over('channels, 64', None, 'channels, 1'),
         '>=', dict.fromkeys(BOTH, 0.9), "times one channel's rate",
         rate_over('channels, 64, one CPU', None, 'channels, 1, one CPU')),
    Goal('channels, 1,000, beside 64', rate_over('channels, 1,000', None, 'channels, 64'),
         '>=', dict.fromkeys(BOTH, 0.8), 'times the rate of 64'),
    Goal('channels, 10,000, beside 64', rate_over('channels, 10,000', None, 'channels, 64'),
         '>=', dict.fromkeys(BOTH, 0.8), 'times the rate of 64'),
    Goal('idle channel, memory', value_of('idle channel', 'bytes'), '<=',
         dict.fromkeys(BOTH, 512), 'B, both ends and msgd'),
    Goal('idle channel, descriptors', value_of('idle channel', 'descriptors'), '<=',
         dict.fromkeys(BOTH, 0), 'of both ends and msgd'),
    Goal('idle channels, wake-ups', value_of('idle channel', 'wakeups'), '<=',
         dict.fromkeys(BOTH, 0), 'of both ends and msgd in half a second'),
    Goal('CPU time, one way, 64 B', cpu_over('one way, 64 B'), '<=', dict.fromkeys(BOTH, 0.05),
         "times SEQPACKET's", cpu_over('one way, 64 B' + ONE_CPU)),
    loaded('64 KiB messages on another channel'),
    loaded('1,000 idle channels'),
    loaded('msgd restarts'),
    loaded('64 channels open and close each ms'),
)


def spread(values):
    return {'minimum': min(values), 'median': statistics.median(values), 'maximum': max(values)}


def goals_of(measured):
    """A row for each goal and ring of which something was measured."""
    for goal in GOALS:
        for peer, limit in goal.goals.items():
            values = goal.values(measured, peer)
            if not values:
                continue
            found = spread(values)
            middle = found['median']
            met = middle >= limit if goal.sense == '>=' else middle <= limit
            half = middle >= limit / 2 if goal.sense == '>=' else middle <= limit * 2
            one_cpu = goal.one_cpu and goal.one_cpu(measured, peer)
            yield {'name': goal.name, 'peer': peer, 'sense': goal.sense, 'goal': limit,
                   'unit': goal.unit, **found, 'met': met, 'half': half,
                   'one_cpu': spread(one_cpu) if one_cpu else None,
                   'why': None if met else goal.why.get(peer)}


# ---- the report ----------------------------------------------------------------------------


def machine_of(data):
    model = platform.machine()
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as lines:
            model = next((line.split(':', 1)[1].strip() for line in lines
                          if line.startswith('model name')), model)
    except OSError:
        pass
    return {'cpu': model, 'cpus': len(os.sched_getaffinity(0)), 'kernel': platform.release(),
            **data['machine']}


def report_of(data):
    measurements = []
    for row in data['measurements']:
        measurements.append({key: spread(value) if isinstance(value, list) else value
                             for key, value in row.items()})
    return {'date': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
            'machine': machine_of(data), 'rounds': data['rounds'], 'ms': data['ms'],
            'left_out': data['left_out'], 'measurements': measurements,
            'goals': list(goals_of(Measured(data)))}


def number(value):
    return f'{value:,.0f}' if value >= 1000 else f'{value:.3g}'


def range_of(found):
    return f"{number(found['median'])} [{number(found['minimum'])} {number(found['maximum'])}]"


def verdict(goal):
    return 'met' if goal['met'] else 'missed'


def machine_text(report):
    machine = report['machine']
    return (f"{machine['cpus']} CPUs, {machine['cpu']}, Linux {machine['kernel']}; meanwhile "
            f"others had {machine['others']:.0f} %, the hypervisor {machine['steal']:.1f} %; "
            f"load {machine['load']:.1f}")


def measurement_text(row):
    if 'rate' not in row:
        return f"{number(row['bytes']['median'])} B"
    text = f"{range_of(row['rate'])} /s  CPU {number(row['cpu_us']['median'])} us"
    if 'load' in row:
        text += f"  load {number(row['load']['median'])} /s"
    if 'each' in row:
        percentiles = row['each']['percentiles_us']
        text += '  us: ' + ', '.join(f'{part} % {number(us)}' for part, us in percentiles.items()
                                     if us is not None)
        text += f", most {number(row['each']['max_us'])}"
    return text


def print_text(report):
    case = None
    for row in report['measurements']:
        if row['case'] != case:
            case = row['case']
            print(case)
        print(f"  {row['peer']:15} {measurement_text(row)}")
    if report['goals']:
        print('goals: median [minimum maximum]')
    for goal in report['goals']:
        print(f"  {goal['name']:48} {goal['peer']:11} {goal['sense']} {goal['goal']:<5g} "
              f"{range_of(goal)} {goal['unit']}: {verdict(goal)}")
        if goal['one_cpu']:
            print(f"    on one CPU: {range_of(goal['one_cpu'])}")
        if goal['why']:
            print(f"    {goal['why']}")
    for row in report['left_out']:
        print(f"left out: {row['peer']}: {row['reason']}")
    print(f"{report['rounds']} interleaved rounds of {report['ms']} ms; medians, "
          '[minimum maximum]; CPU: of both processes, per message or round trip')
    print(machine_text(report))


def print_table(report):
    rows = {(row['case'], row['peer']): row for row in report['measurements'] if 'rate' in row}
    cases = [case for case in dict.fromkeys(row['case'] for row in report['measurements'])
             if case.startswith(('one way, ', 'round trip, ')) and 'batches' not in case]
    peers = [peer for peer in PEERS if any((case, peer) in rows for case in cases)]
    print(f"Measured on {report['date'][:10]}: {machine_text(report)}; {report['rounds']} rounds "
          f"of {report['ms']} ms, medians. One way: thousands of messages a second; round trip: us.\n")
    print(f"| | {' | '.join(peers)} |")
    print('|---' * (len(peers) + 1) + '|')
    for case in cases:
        cells = []
        for peer in peers:
            row = rows.get((case, peer))
            rate = row and row['rate']['median']
            value = rate and (rate / 1000 if case.startswith('one way') else 1e6 / rate)
            cells.append(number(value) if value else '')
        print(f"| {case} | {' | '.join(cells)} |")
    print('\n| goal | | | median | minimum | maximum | on one CPU | |')
    print('|---|---|---|---|---|---|---|---|')
    for goal in report['goals']:
        one = number(goal['one_cpu']['median']) if goal['one_cpu'] else ''
        print(f"| {goal['name']}, {goal['unit']} | {goal['peer']} | {goal['sense']} "
              f"{goal['goal']:g} | {number(goal['median'])} | {number(goal['minimum'])} | "
              f"{number(goal['maximum'])} | {one} | {verdict(goal)} |")
    for row in report['left_out']:
        print(f"\nLeft out: {row['peer']}: {row['reason']}.")


# ---- the plot ------------------------------------------------------------------------------


def by_peer(report, wanted, x, y):
    """The points of each peer: of the rows that `wanted` takes, x and y."""
    curves = {}
    for row in report['measurements']:
        if wanted(row):
            curves.setdefault(row['peer'], []).append((x(row), y(row)))
    return curves


def sizes_of(kind):
    """The cases of the curves: of one size each, not pinned."""
    return lambda row: (row['case'].startswith(kind + ', ') and row['cpus'] == 'any' and
                        row['case'].count(', ') == 1)


def plots_of(report):
    """Title, the axes' labels, the axes that are logarithmic, and the curves."""
    def size(row):
        return row['size']

    def percentile_curves(cpus):
        parts = ('50', '90', '99', '99.9', '99.99')
        return {row['peer']: [(1 / (1 - float(part) / 100), row['each']['percentiles_us'][part])
                              for part in parts
                              if row['each']['percentiles_us'][part] is not None]
                for row in report['measurements']
                if row['case'] == f'each round trip, 64 B, {cpus}'}

    return (
        ('one way', 'bytes of a message', 'messages a second', by_peer(
            report, sizes_of('one way'), size, lambda row: row['rate']['median'])),
        ('round trip', 'bytes of a message', 'us', by_peer(
            report, sizes_of('round trip'), size, lambda row: 1e6 / row['rate']['median'])),
        ('many channels', 'channels', 'us of CPU for a message', by_peer(
            report, lambda row: row['case'].startswith('channels') and row['cpus'] == 'any',
            lambda row: row['channels'], lambda row: row['cpu_us']['median'])),
        ('round trips of 64 B, two CPUs', 'one in so many takes longer', 'us',
         percentile_curves('two CPUs')),
        ('round trips of 64 B, one CPU', 'one in so many takes longer', 'us',
         percentile_curves('one CPU')),
    )


def gnuplot_of(report, path):
    plots = [plot for plot in plots_of(report) if any(plot[3].values())]
    if not plots:
        sys.exit('report.py: none of the cases that were measured is in the plot')
    height = 450 * ((len(plots) + 1) // 2)
    lines = [f'set terminal svg size 1100,{height} noenhanced font "sans,11"',
             f'set output "{path}"', 'set key outside right', 'set grid', 'set logscale xy',
             f'set multiplot layout {height // 450},2 title "{report["date"][:10]}, '
             f'{machine_text(report)}"']
    for n, (title, x, y, curves) in enumerate(plots):
        drawn = []
        for peer, points in curves.items():
            if not points:
                continue
            i = PEERS.index(peer)
            lines += [f'$p{n}_{i} << EOD', *(f'{a} {b}' for a, b in sorted(points)), 'EOD']
            drawn.append(f'$p{n}_{i} with linespoints linetype {i + 1} title "{peer}"')
        lines += [f'set title "{title}"', f'set xlabel "{x}"', f'set ylabel "{y}"',
                  'plot ' + ', '.join(drawn)]
    return '\n'.join(lines + ['unset multiplot', ''])


def write_plot(report, path):
    script = gnuplot_of(report, path)
    with tempfile.NamedTemporaryFile('w', suffix='.gnuplot') as file:
        file.write(script)
        file.flush()
        try:
            subprocess.run(['gnuplot', file.name], check=True)
        except FileNotFoundError:
            sys.exit('report.py: --plot needs gnuplot (gnuplot-nox)')
        except subprocess.CalledProcessError as error:
            sys.exit(f'report.py: gnuplot failed with status {error.returncode}')


def main():
    parser = argparse.ArgumentParser(description='The report of what bench/run measured.')
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--json', action='store_true')
    form.add_argument('--table', action='store_true')
    parser.add_argument('--plot', metavar='FILE')
    parser.add_argument('--gate', action='store_true')
    parser.add_argument('measured')
    options = parser.parse_args()
    with open(options.measured, encoding='utf-8') as file:
        report = report_of(json.load(file))
    missed = [goal for goal in report['goals'] if not goal.pop('half')]
    if options.json:
        json.dump(report, sys.stdout, indent=1)
        print()
    elif options.table:
        print_table(report)
    else:
        print_text(report)
    if options.plot:
        write_plot(report, options.plot)
    if options.gate:
        for goal in missed:
            print(f"missed by more than half: {goal['name']}, {goal['peer']}", file=sys.stderr)
        return 1 if missed else 0
    return 0


if __name__ == '__main__':
    sys.exit(main())
