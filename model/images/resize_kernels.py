"""The loops of model/images/resize.py, compiled by numba for this machine on their first call.

They are written so that the compiler works on many bytes at once: the innermost loops run over bytes that lie
side by side and apply the same factor to all of them. Legend: W width, L bytes side by side, N outputs,
K factors, S side of a tile. Indices are unsigned, otherwise numba checks each for being negative.
"""

import logging

import llvmlite.binding
import numba
import numpy as np

# vLLM's CPU workers ask every object of every module for vars(object)["kernel"] when they start
# (vllm/triton_utils/dispatcher.py). llvmlite's library answers any name, __dict__ too, with a C function.
llvmlite.binding.ffi.lib._fntab["__dict__"] = {}

BITS = 22  # of a factor's fraction, as in Pillow
HALF = np.int32(1 << (BITS - 1))
GROUP = 4  # factors applied in one go where they are many
STREAMS = 16  # rows read or written side by side: as many as caches and their prefetchers follow
SPARE = 8  # factors of 0 behind the last one, and rows to apply them to

i32, index = np.int32, np.uintp


def _options() -> dict[str, bool | str]:
    """numba's options: compiled code is kept on disk if there is a place for it."""
    options: dict[str, bool | str] = {"nogil": True, "error_model": "numpy"}
    try:
        numba.njit(_options, cache=True)
    except RuntimeError:  # neither NUMBA_CACHE_DIR nor this folder nor the user's cache can be written
        logging.getLogger("internvl3.tiling").warning(
            "No folder for compiled code: every process compiles its image loops for some seconds. "
            "Point NUMBA_CACHE_DIR to a folder that can be written."
        )
        return options
    return options | {"cache": True}


compiled = numba.njit(**_options())


@compiled
def rows_to_block(source, step, block_WL):  # type: ignore[no-untyped-def]
    """Image rows (rows, W * step) to columns: pixel x of row y goes to block_WL[x, 3 * y :][:3].

    Four bytes are moved at a time, the fourth in vain: the next pixel, or the spare byte, takes its place.
    """
    num_rows, last = index(source.shape[0]), index(source.shape[1] // step) - index(1)
    for start in range(index(0), num_rows, index(STREAMS)):
        stop = min(start + index(STREAMS), num_rows)
        for x in range(last):
            p = x * index(step)
            for y in range(start, stop):
                a, b = source[y, p], source[y, p + index(1)]
                c, d = source[y, p + index(2)], source[y, p + index(3)]
                q = index(3) * y
                block_WL[x, q], block_WL[x, q + index(1)] = a, b
                block_WL[x, q + index(2)], block_WL[x, q + index(3)] = c, d
    for y in range(num_rows):  # the last pixel may have no fourth byte
        for channel in range(index(3)):
            block_WL[last, index(3) * y + channel] = source[y, last * index(step) + channel]


@compiled
def block_to_rows(block_WL, rows):  # type: ignore[no-untyped-def]
    """The way back: block_WL[x, 3 * y :][:3] to rows (rows, 3 * W + 1), again four bytes at a time."""
    num_rows = index(rows.shape[0])
    for start in range(index(0), num_rows, index(STREAMS)):
        stop = min(start + index(STREAMS), num_rows)
        for x in range(index(block_WL.shape[0])):
            q = index(3) * x
            for y in range(start, stop):
                p = index(3) * y
                a, b = block_WL[x, p], block_WL[x, p + index(1)]
                c, d = block_WL[x, p + index(2)], block_WL[x, p + index(3)]
                rows[y, q], rows[y, q + index(1)] = a, b
                rows[y, q + index(2)], rows[y, q + index(3)] = c, d


@compiled
def combine_block(block_WL, first_N, count_N, factors_NK, sums_L, out_NL):  # type: ignore[no-untyped-def]
    """Image rows, standing: out_NL[n] from block_WL[first_N[n] :]. The last byte of a row is spare."""
    length = index(out_NL.shape[1]) - index(1)
    for n in range(index(out_NL.shape[0])):
        _combine(block_WL, first_N[n], index(0), count_N[n], factors_NK, n, sums_L, out_NL, n, length)


@compiled
def combine_lines(  # type: ignore[no-untyped-def]
    lines, base, start, stop, first_N, count_N, factors_NK, sums_L, tiles_NL, columns, side
):
    """Image columns: outputs start to stop, from lines[first_N[n] - base :], cut into `columns` tiles.

    The tiles lie row by row in tiles_NL, each as `side` lines.
    """
    num_columns, side, length = index(columns), index(side), index(tiles_NL.shape[1])
    for n in range(index(start), index(stop)):
        for column in range(num_columns):
            line = (n // side * num_columns + column) * side + n % side
            first, count = first_N[n] - index(base), count_N[n]
            _combine(lines, first, column * length, count, factors_NK, n, sums_L, tiles_NL, line, length)


@compiled
def _combine(v, top, left, count, f, n, sums_L, out, line, length):  # type: ignore[no-untyped-def]
    """out[line] = rows of v from `top` on, from byte `left` on, times the factors f[n], rounded to bytes."""
    fa, fb, fc, fd, fe = f[n, 0], f[n, 1], f[n, 2], f[n, 3], f[n, 4]
    if count <= index(5):
        for i in range(length):
            j = left + i
            near = i32(v[top, j]) * fa + i32(v[top + index(1), j]) * fb + i32(v[top + index(2), j]) * fc
            near += i32(v[top + index(3), j]) * fd + i32(v[top + index(4), j]) * fe
            out[line, i] = min(max(i32(HALF + near) >> BITS, 0), 255)
        return
    if count <= index(7):
        ff, fg = f[n, 5], f[n, 6]
        for i in range(length):
            j = left + i
            near = i32(v[top, j]) * fa + i32(v[top + index(1), j]) * fb + i32(v[top + index(2), j]) * fc
            near += i32(v[top + index(3), j]) * fd + i32(v[top + index(4), j]) * fe
            near += i32(v[top + index(5), j]) * ff + i32(v[top + index(6), j]) * fg
            out[line, i] = min(max(i32(HALF + near) >> BITS, 0), 255)
        return
    for i in range(length):
        j = left + i
        near = i32(v[top, j]) * fa + i32(v[top + index(1), j]) * fb
        near += i32(v[top + index(2), j]) * fc + i32(v[top + index(3), j]) * fd
        sums_L[i] = i32(HALF + near)
    k = index(GROUP)
    while k + index(GROUP) < count:
        row = top + k
        fa, fb, fc, fd = f[n, k], f[n, k + index(1)], f[n, k + index(2)], f[n, k + index(3)]
        for i in range(length):
            j = left + i
            near = i32(v[row, j]) * fa + i32(v[row + index(1), j]) * fb
            near += i32(v[row + index(2), j]) * fc + i32(v[row + index(3), j]) * fd
            sums_L[i] = i32(sums_L[i] + near)
        k += index(GROUP)
    row = top + k
    fa, fb, fc, fd = f[n, k], f[n, k + index(1)], f[n, k + index(2)], f[n, k + index(3)]
    for i in range(length):
        j = left + i
        near = i32(v[row, j]) * fa + i32(v[row + index(1), j]) * fb
        near += i32(v[row + index(2), j]) * fc + i32(v[row + index(3), j]) * fd
        out[line, i] = min(max(i32(sums_L[i] + near) >> BITS, 0), 255)
