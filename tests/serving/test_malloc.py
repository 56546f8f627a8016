import platform

from serving.malloc import keep_large_blocks


def test_glibc_takes_the_thresholds_and_no_other_library_is_asked():
    assert keep_large_blocks() is (platform.libc_ver()[0] == "glibc")
