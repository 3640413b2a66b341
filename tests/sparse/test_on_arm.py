"""A ticket in C on a Cortex-M4, emulated: its sizes, and the logits of Python."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from networks import created, trained

from quatgrad import sparse

GCC = ["arm-none-eabi-gcc", "-std=c99", "-mcpu=cortex-m4", "-mthumb", "-Os"]
GCC += ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
FPU = ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
QEMU = ("qemu-system-arm", "-M", "mps2-an386", "-nographic", "-semihosting", "-kernel")
needs_gcc = pytest.mark.skipif(not shutil.which(GCC[0]), reason="no compiler for ARM here")


def has_newlib():
    """Is there a C library for ARM that prints through the emulator?"""
    if not shutil.which(GCC[0]):
        return False
    command = [GCC[0], "-print-file-name=rdimon.specs"]  # its name alone, where there is none
    return "/" in subprocess.run(command, capture_output=True, text=True).stdout


needs_newlib = pytest.mark.skipif(not has_newlib(), reason="no C library for ARM here")
needs_qemu = pytest.mark.skipif(not shutil.which(QEMU[0]), reason="no emulator of ARM here")

#: Where the memory of the board is; code, tables and images in the first 4 MB.
MEMORY = """
ENTRY(start)
SECTIONS {
  . = 0; .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) *(.ARM*) }
  . = 0x20000000; .data : { *(.data*) } .bss : { *(.bss*) *(COMMON) }
  end = .; stack = 0x20400000;
}
"""
START = """
#include <stdlib.h>
extern void initialise_monitor_handles(void);
extern int main(void);
extern char stack[];
void _fini(void) {}
void start(void) {
    *(volatile unsigned *)0xE000ED88 |= 0xF << 20; /* switches the FPU on */
    initialise_monitor_handles();
    exit(main());
}
static const struct { char *stack; void (*start)(void); } vectors
    __attribute__((section(".vectors"), used)) = {stack, start};
"""


def lenet(tmp_path, weights, images=None):
    """Quaternion LeNet-300-100 for MNIST with 5 % of its weights."""
    options = {"width": 300, "num_classes": 10, "image_size": (28, 7)}
    net = created("lenet-300-100", "quaternion", **options)
    net, masks = trained(net, (28, 7, 4), density=0.05)
    plan = sparse.prepare(net, (28, 7, 4), masks)
    return sparse.rounded(plan, weights), sparse.export_c(plan, tmp_path / "net", weights, images)


@needs_gcc
def test_the_size_of_a_lenet(tmp_path):
    """int8: 11 kB of flash and 2 kB of RAM, beside image, logits and stack."""
    _, made = lenet(tmp_path, "int8")
    subprocess.run([*GCC, "-c", made.source, "-o", tmp_path / "net.o"], check=True)
    size = ["arm-none-eabi-size", tmp_path / "net.o"]
    told = subprocess.run(size, check=True, capture_output=True, text=True).stdout
    text, data, bss = map(int, told.splitlines()[1].split()[:3])
    assert made.flash <= text + data <= min(made.flash + 2000, 11_000)
    assert made.ram <= bss <= min(made.ram + 8, 2_000)


@needs_newlib
@needs_qemu
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_the_classes_on_the_device(tmp_path, weights):
    images = np.random.default_rng(1).standard_normal((200, 28, 7, 4)).astype(np.float32)
    plan, made = lenet(tmp_path, weights, images)
    (tmp_path / "start.c").write_text(START)
    (tmp_path / "memory.ld").write_text(MEMORY)
    program = tmp_path / "net.elf"
    link = ("--specs=rdimon.specs", "-nostartfiles", "-T", tmp_path / "memory.ld")
    command = [*GCC, *FPU, "-DNET_CHECK", made.source, tmp_path / "start.c"]
    subprocess.run([*command, *link, "-o", program], check=True)
    done = subprocess.run([*QEMU, program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    classes = [int(c) for c in re.findall(r"class (\d+)", done.stdout)]
    assert classes == plan(images).argmax(axis=1).tolist()
