"""The first lines of a program that is to run without the rights of root."""

PREAMBLE = """
import ctypes, os

if os.geteuid() == 0:  # whom no mode of a directory keeps out: lay that down (capabilities(7))
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    rights = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, rights) == 0
    rights[0] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, rights) == 0
"""
