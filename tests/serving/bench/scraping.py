"""The counters of a server inside the test's process."""

from prometheus_client import generate_latest

from serving.app import ListeningServer
from serving.bench.scrape import Scrape, read_scrape


def counted(server: ListeningServer) -> Scrape:
    return read_scrape(generate_latest(server.metrics.registry).decode())
