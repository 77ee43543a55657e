#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""bench/run, so short that its figures mean nothing: what it prints, its JSON, its SVG, its table.

    bench.py SOURCE_ROOT BUILD
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import jsonschema

SHORT = ('--rounds=2', '--ms=4')


def run(*options, status=0, **more):
    env = {**os.environ, 'MSGD_BENCH_BUILD': build, 'MSGD_BENCH_BUILT': '1', **more}
    done = subprocess.run([f'{source}/bench/run', *options], env=env, text=True, check=False,
                          capture_output=True)
    assert done.returncode == status, (options, done.returncode, done.stdout, done.stderr)
    return done


def check_document(text):
    report = json.loads(text)
    with open(f'{source}/bench/bench.schema.json', encoding='utf-8') as file:
        jsonschema.validate(report, json.load(file))
    rows = {(row['case'], row['peer']): row for row in report['measurements']}
    left_out = {row['peer'] for row in report['left_out']}
    for peer in ('SEQPACKET', 'pipe', 'ZeroMQ', 'nng', 'AF_VSOCK', 'grant', 'argo', 'memcpy'):
        assert (('one way, 64 B', peer) in rows) != (peer in left_out), peer
    for row in rows.values():
        assert row['rate']['minimum'] <= row['rate']['median'] <= row['rate']['maximum'], row
        times = [us for us in row.get('each', {}).get('percentiles_us', {}).values() if us]
        assert times == sorted(times), row
        assert not times or times[-1] <= 1.04 * row['each']['max_us'], row  # a bin's middle
    assert any('each' in row for row in rows.values())
    check_goals(report, rows)


def check_goals(report, rows):
    """The goals are from the same rounds, and the verdict is the median's."""
    for goal in report['goals']:
        over = goal['median'] >= goal['goal']
        assert goal['met'] == (over if goal['sense'] == '>=' else goal['median'] <= goal['goal'])
    found = {(goal['name'], goal['peer']): goal for goal in report['goals']}
    goal = found['one way, 64 B', 'grant']
    ratios = [rows['one way, 64 B', 'grant']['rate'][end] /
              rows['one way, 64 B', 'SEQPACKET']['rate'][other]
              for end, other in (('minimum', 'maximum'), ('maximum', 'minimum'))]
    assert ratios[0] <= goal['median'] * 1.001 and goal['median'] <= ratios[1] * 1.001, goal
    assert goal['one_cpu'], goal
    assert ('round trip, 64 B, one CPU', 'argo') in found
    assert ('loaded round trip, 64 B; msgd restarts', 'grant') not in found  # no 64 KiB was copied


def check_plot(path):
    root = xml.etree.ElementTree.parse(path).getroot()
    assert root.tag == '{http://www.w3.org/2000/svg}svg', root.tag
    text = ' '.join(root.itertext())
    for word in ('one way', 'round trip', 'many channels', 'two CPUs', 'SEQPACKET', 'grant'):
        assert word in text, word


def without_gnuplot(directory):
    for program in ('bash', 'dirname', 'mktemp'):
        os.symlink(shutil.which(program), f'{directory}/{program}')
    done = run('--quick', f'--plot={directory}/none.svg', status=2, PATH=directory)
    assert 'gnuplot-nox' in done.stderr, done.stderr


def main():
    with tempfile.TemporaryDirectory() as directory:
        without_gnuplot(directory)
        done = run(*SHORT, '--json', '--case=64 B')
        check_document(done.stdout)
        plot = ('--plot=' + directory + '/plot.svg',) if shutil.which('gnuplot') else ()
        table = run('--rounds=1', '--ms=4', '--table', '--case= 64', *plot).stdout
        assert '| goal |' in table and table.startswith('Measured on '), table
        if plot:
            check_plot(f'{directory}/plot.svg')
        text = run('--quick', '--rounds=1', '--ms=4').stdout
        assert 'goals: median [minimum maximum]' in text and 'interleaved rounds' in text, text
        assert 'no case has' in run('--case=nothing', status=2).stderr


source, build = sys.argv[1:]
main()
