"""The loops of model/images/resize.py, which numba compiles for this machine on their first call.

The innermost loops run over bytes that lie side by side and apply the same factor to all of them, so that the
compiler can process many bytes in one instruction. Indices are unsigned, because numba tests every signed
index for being negative. Legend: W width, L bytes side by side, N outputs, K factors, S side of a tile.
"""

import logging

import llvmlite.binding
import numba
import numpy as np

# When vLLM's CPU workers start, they look up vars(object)["kernel"] of every object in every module
# (vllm/triton_utils/dispatcher.py). llvmlite's library object answers every name with a wrapped function,
# even __dict__, so vars() would return no dictionary.
llvmlite.binding.ffi.lib._fntab["__dict__"] = {}

BITS = 22  # The bits of a factor's fraction, as in Pillow.
HALF = np.int32(1 << (BITS - 1))
GROUP = 4  # The factors that one pass applies where there are many.
STREAMS = 16  # The rows that are read or written in turn: caches and prefetchers follow about that many.
SPARE = 8  # The factors of 0 after the last factor of an output, and the rows that they are applied to.

i32, index = np.int32, np.uintp


def _options() -> dict[str, bool | str]:
    """Return numba's options. They keep compiled code on disk if there is a folder that can be written."""
    options: dict[str, bool | str] = {"nogil": True, "error_model": "numpy"}
    try:
        numba.njit(_options, cache=True)
    except RuntimeError:  # NUMBA_CACHE_DIR, this folder and the user's cache are all read-only.
        logging.getLogger("internvl3.tiling").warning(
            "There is no folder for compiled code, so every process compiles its image loops for some "
            "seconds. Set NUMBA_CACHE_DIR to a folder that can be written."
        )
        return options
    return options | {"cache": True}


compiled = numba.njit(**_options())


@compiled
def rows_to_block(source, step, block_WL):  # type: ignore[no-untyped-def]
    """Write image rows (rows, W * step) as columns: pixel x of row y goes to block_WL[x, 3 * y :][:3].

    The loop copies four bytes at a time, because that is one machine instruction. A pixel has only three
    bytes. The next row's copy overwrites the fourth one; after the last row it stays in a spare byte.
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
    for y in range(num_rows):  # There may be no fourth byte to read after the last pixel of a row.
        for channel in range(index(3)):
            block_WL[last, index(3) * y + channel] = source[y, last * index(step) + channel]


@compiled
def block_to_rows(block_WL, rows):  # type: ignore[no-untyped-def]
    """Write columns back as rows (rows, 3 * W + 1): block_WL[x, 3 * y :][:3] becomes pixel x of row y.

    Four bytes are copied at a time, as in `rows_to_block`. The next pixel's copy overwrites the fourth byte.
    """
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
    """Resize image rows that are columns of a block: out_NL[n] is computed from block_WL[first_N[n] :].

    The last byte of a row of `out_NL` is spare and isn't computed.
    """
    length = index(out_NL.shape[1]) - index(1)
    for n in range(index(out_NL.shape[0])):
        _combine(block_WL, first_N[n], index(0), count_N[n], factors_NK, n, sums_L, out_NL, n, length)


@compiled
def combine_lines(  # type: ignore[no-untyped-def]
    lines, base, start, stop, first_N, count_N, factors_NK, sums_L, tiles_NL, columns, side
):
    """Resize image columns: outputs `start` to `stop` are computed from lines[first_N[n] - base :].

    Each output is cut into `columns` tiles. The tiles follow each other row by row in `tiles_NL`, with `side`
    lines for each tile.
    """
    num_columns, side, length = index(columns), index(side), index(tiles_NL.shape[1])
    for n in range(index(start), index(stop)):
        for column in range(num_columns):
            line = (n // side * num_columns + column) * side + n % side
            first, count = first_N[n] - index(base), count_N[n]
            _combine(lines, first, column * length, count, factors_NK, n, sums_L, tiles_NL, line, length)


@compiled
def _combine(v, top, left, count, f, n, sums_L, out, line, length):  # type: ignore[no-untyped-def]
    """Set out[line] to the sum of rows of `v` times the factors f[n], rounded to bytes.

    The rows start at `top`, and the bytes of each row at `left`.
    """
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
