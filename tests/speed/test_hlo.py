"""A compiled program's text, added up by hand."""

import pytest

from ssdkd_jax.speed import hlo

TEXT = """HloModule jit_step, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%products (p0: f32[4,8,8,16], p1: f32[3,3,16,32]) -> f32[4,8,8,32] {
  %p0 = f32[4,8,8,16]{3,2,1,0:T(8,128)} parameter(0)
  %p1 = f32[3,3,16,32]{3,2,1,0:T(8,128)} parameter(1)
  ROOT %conv = f32[4,8,8,32]{3,2,1,0:T(8,128)} convolution(%p0, %p1), window={size=3x3}, dim_labels=b01f_01io->b01f
}

%slices (q0: u8[500,64], q1: s32[]) -> u8[4,64] {
  %q0 = u8[500,64]{1,0} parameter(0)
  %q1 = s32[] parameter(1)
  ROOT %slice = u8[4,64]{1,0} dynamic-slice(%q0, %q1), dynamic_slice_sizes={4,64}
}

%begun (r0: u8[4,64]) -> (u8[4,64], u8[16,64]) {
  %r0 = u8[4,64]{1,0} parameter(0)
  %gathered = u8[16,64]{1,0} all-gather(%r0), dimensions={0}
  ROOT %start = (u8[4,64]{1,0}, u8[16,64]{1,0}) custom-call(%r0, %gathered), custom_call_target="AsyncCollectiveStart"
}

%body (state: (f32[4,8,8,16], f32[3,3,16,32])) -> (f32[4,8,8,16], f32[3,3,16,32]) {
  %state = (f32[4,8,8,16]{3,2,1,0:T(8,128)}, f32[3,3,16,32]{3,2,1,0:T(8,128)}) parameter(0)
  %images = f32[4,8,8,16]{3,2,1,0:T(8,128)} get-tuple-element(%state), index=0
  %kernel = f32[3,3,16,32]{3,2,1,0:T(8,128)} get-tuple-element(%state), index=1
  %out = f32[4,8,8,32]{3,2,1,0:T(8,128)S(1)} fusion(%images, %kernel), kind=kOutput, calls=%products
  %reduced = f32[3,3,16,32]{3,2,1,0} all-reduce(%kernel), to_apply=%add
  ROOT %next = (f32[4,8,8,16], f32[3,3,16,32]) tuple(%images, %reduced)
}

%condition (state: (f32[4,8,8,16], f32[3,3,16,32])) -> pred[] {
  %state = (f32[4,8,8,16], f32[3,3,16,32]) parameter(0)
  ROOT %go = pred[] constant(true)
}

ENTRY %main (bank: u8[500,64], left: bf16[128,256], right: bf16[256,64]) -> u8[4,64] {
  %bank = u8[500,64]{1,0} parameter(0)
  %left = bf16[128,256]{1,0} parameter(1)
  %right = bf16[256,64]{1,0} parameter(2)
  %zero = s32[] constant(0)
  %start = (f32[4,8,8,16], f32[3,3,16,32]) tuple(%left, %right)
  %loop = (f32[4,8,8,16], f32[3,3,16,32]) while(%start), condition=%condition, body=%body
  %product = f32[128,64]{1,0} dot(%left, %right), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %rows = u8[4,64]{1,0} fusion(%bank, %zero), kind=kLoop, calls=%slices
  %async = (u8[4,64]{1,0}, u8[16,64]{1,0}) fusion(%rows), kind=kCustom, calls=%begun
  ROOT %sent = u8[4,64]{1,0} outfeed(%rows)
}
"""
CONVOLUTION, DOT = 2 * 4 * 8 * 8 * 32 * 9 * 16, 2 * 128 * 64 * 256
KERNEL, PADDED_KERNEL = 4 * 9 * 16 * 32, 4 * 9 * 16 * 128


@pytest.mark.parametrize("steps", [1, 7])
def test_a_loop_counts_as_often_as_it_runs(steps):
    found = hlo.figures(TEXT, steps)
    assert found.flops == steps * CONVOLUTION + DOT
    assert found.float32_flops == steps * CONVOLUTION
    # 16 and 32 channels become 128; of the product 256 and 64.
    assert found.padded_flops == steps * CONVOLUTION * 8 * 4 + DOT * 2
    assert found.collectives == {"all-reduce": (steps, steps * PADDED_KERNEL), "all-gather": (1, 16 * 64)}
    assert found.host_transfers == 1


def test_what_the_compiler_knows_of_a_loop_counts():
    known = TEXT.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"5"}}')
    assert hlo.figures(known, 1) == hlo.figures(TEXT, 5)


COUNTED = """%condition (state: (s32[], f32[4,8,8,16], f32[3,3,16,32])) -> pred[] {
  %state = (s32[], f32[4,8,8,16], f32[3,3,16,32]) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  %n = s32[]{:T(128)} constant(5)
"""
CONDITION = TEXT[TEXT.index("%condition") : TEXT.index("ENTRY")]
COMPARED = "  ROOT %go = pred[]{:T(512)} compare(%i, %n), direction=LT\n}\n\n"
FUSED = """  ROOT %go = pred[]{:T(512)} fusion(%i, %n), kind=kLoop, calls=%less
}

%less (left: s32[], right: s32[]) -> pred[] {
  %left = s32[]{:T(128)} parameter(0)
  %right = s32[]{:T(128)} parameter(1)
  ROOT %compared = pred[]{:T(512)} compare(%left, %right), direction=LT
}

"""


@pytest.mark.parametrize("last", [COMPARED, FUSED], ids=["plain", "fused"])
def test_what_a_loop_compares_its_counter_with_counts(last):
    """As of a loop over the kept views, in a program whose other loop has another number of steps."""
    assert hlo.figures(TEXT.replace(CONDITION, COUNTED + last), 7) == hlo.figures(TEXT, 5)


@pytest.mark.parametrize("last", [COMPARED, FUSED], ids=["plain", "fused"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("constant(5)", "parameter(1)"),
        ("direction=LT", "direction=GT"),
        (
            "%n = s32[]{:T(128)} constant(5)",
            "%n = f32[] constant(0.1)\n  %x = f32[] get-tuple-element(%state), index=1",
        ),
        ("%i = s32[]{:T(128)} get-tuple-element(%state), index=0", "%i = s32[]{:T(128)} constant(0)"),
    ],
)
def test_a_loop_whose_end_is_no_number_of_the_text_takes_the_steps(last, old, new):
    changed = (COUNTED + last).replace(old, new)
    if "%x" in changed:
        changed = changed.replace("(%i, %n)", "(%x, %n)")
    assert hlo.figures(TEXT.replace(CONDITION, changed), 7) == hlo.figures(TEXT, 7)


def test_bytes_of_main_memory():
    """Rows of 16 and 32 floats are stored as 128; what is next to the arithmetic (S(1)) does not move."""
    images = 4 * 4 * 8 * 8 * 128
    body = images + PADDED_KERNEL + (PADDED_KERNEL + KERNEL)
    dot = 2 * (128 * 256 + 256 * 64) + 4 * 128 * 64
    rows = 2 * 4 * 64 + 4  # with the index, and not the whole bank
    gathered, sent = 4 * 64 + (4 + 16) * 64, 2 * 4 * 64
    assert hlo.figures(TEXT, 1).bytes == body + dot + rows + gathered + sent


def test_zeros_between_the_pixels_of_a_gradient_are_not_multiplied():
    spread = TEXT.replace("window={size=3x3}", "window={size=3x3 pad=1_2x1_2 lhs_dilate=2x2}")
    assert hlo.figures(spread, 1).flops == CONVOLUTION / 4 + DOT


def test_stored_sizes():
    array = hlo.Array("bf16", (16, 8, 8, 8), "0,3,2,1:T(8,128)(2,1)S(1)")
    assert array.bytes() == 2 * 128 * 8 * 8 * 8 and not array.in_main_memory()
    assert hlo.Array("f32", (5,), "0:T(128)").bytes() == 4 * 128
    assert hlo.Array("pred", (5,), "").bytes() == 5 and hlo.Array("s32", (), "").bytes() == 4
