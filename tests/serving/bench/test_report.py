from serving.bench.floor import Floor
from serving.bench.report import document, rows_of, table_text
from tests.serving.bench.test_figures import figures

FLOOR = Floor(rate=20.0, cpu_s=0.1, p50_s=0.05, rows=8, threads=2)


def test_ratios_stand_in_the_row_of_their_load():
    head, floor, row = rows_of([figures(server_cpu_s=0.15, rate_ratio=0.5, cpu_ratio=1.5)], FLOOR)
    found = dict(zip(head, row, strict=True))
    assert (found["rate / floor"], found["CPU / floor"], found["server CPU ms"]) == ("0.500", "1.500", "150.00")
    assert floor[:3] == ("floor, 2 x 8", "20.0", "50.00")


def test_columns_of_what_was_not_measured_are_left_out():
    head, _ = rows_of([figures()], None)
    assert "server CPU ms" not in head
    assert "CPU / floor" not in head


def test_requests_without_a_result_are_named_by_code():
    head, row = rows_of([figures(codes={"OK": 1, "UNAVAILABLE": 3})], None)
    assert row[head.index("no result")] == "UNAVAILABLE 3"


def test_columns_are_aligned():
    lines = table_text(rows_of([figures(), figures(load="128 concurrent", rate=12345.0)], None)).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_the_document_holds_every_load_and_the_floor():
    found = document("m", [figures()], FLOOR, {"cores": 2})
    assert found["floor"]["rows"] == 8
    assert [load["load"] for load in found["loads"]] == ["8 concurrent"]
