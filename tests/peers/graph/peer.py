"""NetworKit on the same graph and the same events: what `tests/bench graph` is compared with.

  peer.py GRAPH EVENTS LANDMARKS     'u v' a line; '+ u v' or '- u v' a line; 'v' a line

Prints JSON: milliseconds of one search per landmark (median of five rounds), microseconds per event of one dynamic search per
landmark (every event; the loop over landmarks is Python's). One thread. Needs `networkit`.
"""
import json, statistics, sys, time

import networkit as nk

nk.setNumberOfThreads(1)


def main():
    graph_file, events_file, landmarks_file = sys.argv[1:4]
    edges = [tuple(map(int, line.split())) for line in open(graph_file)]
    landmarks = [int(line) for line in open(landmarks_file)]
    n = 1 + max(max(edge) for edge in edges)
    g = nk.Graph(n)
    for u, v in edges:
        g.addEdge(u, v)
    g.indexEdges()
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for s in landmarks:
            nk.distance.BFS(g, s, False).run()
        rounds.append((time.perf_counter() - began) * 1e3)
    dynamic = [nk.distance.DynBFS(g, s) for s in landmarks]
    for one in dynamic:
        one.run()
    kinds = nk.dynamics.GraphEvent
    took = []
    for line in open(events_file):
        op, u, v = line.split()
        u, v = int(u), int(v)
        if op == '+':
            g.addEdge(u, v)
            event = kinds(kinds.EDGE_ADDITION, u, v, 1.0)
        else:
            g.removeEdge(u, v)
            event = kinds(kinds.EDGE_REMOVAL, u, v, 1.0)
        began = time.perf_counter()
        for one in dynamic:
            one.update(event)
        took.append((time.perf_counter() - began) * 1e6)
    took.sort()
    print(json.dumps({'version': nk.__version__, 'rebuild_ms': statistics.median(rounds), 'p50_us': took[len(took) // 2], 'mean_us': statistics.fmean(took)}))


main()
