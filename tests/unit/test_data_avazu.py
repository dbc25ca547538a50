"""Avazu's log: its columns, its hexadecimal ids, and what is wrong with bad rows."""

import numpy as np
import pytest

from recsmith.data.readers import READERS, Tally
from recsmith.data.readers.avazu import DIGESTS, FEATURES, NUMBERS
from recsmith.spec import FormatError, InputError

HEADER = (
    "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,device_id,"
    "device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"
)
ROW = (
    "1000009418151094273,{click},{hour},1005,0,1fbe01fe,f3845767,28905ebd,ecad2386,7801e8d9,07d7df22,a99f214a,"
    "ddd2926e,44956a24,1,2,15706,320,50,1722,0,35,-1,79"
)


def write(folder, *rows, header=HEADER):
    path = folder / "train.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def read(path, tally=None, dense=2):
    return list(READERS["avazu"](path, FEATURES, dense, 2, tally or Tally()))


def test_a_row_as_the_log_has_it(tmp_path):
    path = write(tmp_path, ROW.format(click=1, hour="14102123"), ROW.format(click=0, hour="14102600"))
    (rows,) = read(path)
    assert rows.labels.tolist() == [1, 0]
    assert rows.columns["site_id"].values.tolist() == [0x1FBE01FE] * 2
    assert rows.columns["C20"].values.tolist() == [-1, -1] and rows.columns["C14"].values[0] == 15706
    # 21 October 2014 was a Tuesday, 26 October a Sunday.
    assert rows.dense == pytest.approx(np.array([[1, 1 / 6], [0, 1]]))


def test_the_features_are_the_21_categories():
    assert len(FEATURES) == 21 and set(FEATURES) == set(NUMBERS) | set(DIGESTS)


def test_blocks_and_a_file_without_clicks(tmp_path):
    header = HEADER.replace("click,", "")
    row = ROW.format(click="", hour="14102101").replace("273,,", "273,")
    parts = read(write(tmp_path, *[row] * 3, header=header), dense=0)
    assert [len(part.columns["C1"].values) for part in parts] == [2, 1]
    assert all(part.labels is None and part.dense is None for part in parts)


def test_bad_rows_are_errors_or_counted(tmp_path):
    good = ROW.format(click=1, hour="14102123")
    path = write(tmp_path, good, good + ",1", ROW.format(click=1, hour="14139923"), good.replace("1fbe", "wxyz"))
    with pytest.raises(InputError, match=r"train.csv:3: 25 cells"):
        read(path)
    tally = Tally("skip")
    assert sum(map(len, read(path, tally))) == 1
    assert tally.skipped == 3 and "train.csv:3" in tally.first_bad


def test_another_csv_is_refused(tmp_path):
    with pytest.raises(FormatError, match="lacks Avazu's column 'banner_pos'"):
        read(write(tmp_path, "1,1", header="hour,C1"))
