/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an HVM guest of the lab gets as its kernel's 32-bit part, behind Debian's own real-mode part (host/hvm.sh).
 * The kernel proper is in memory already, unpacked, as is the initial RAM file system: says so in the kernel's
 * parameters, and enters it as its own decompressor would (Linux, Documentation/x86/boot.rst: 64-bit protocol).
 * Memory below 1 GiB is mapped to itself, by one large page.
 */
	.set	HDR_RAMDISK_IMAGE, 0x218
	.set	HDR_RAMDISK_SIZE, 0x21c
	.set	PRESENT_WRITABLE, 0x3
	.set	PRESENT_WRITABLE_LARGE, 0x83
	.set	CR4_PAE, 0x20
	.set	MSR_EFER, 0xc0000080
	.set	EFER_LME, 0x100
	.set	CR0_PG, 0x80000000

	.code32
	.globl	_start
_start: /* %esi: the parameters; paging is off, segments are flat */
	movl	$RAMDISK, HDR_RAMDISK_IMAGE(%esi)
	movl	$RAMDISK_LEN, HDR_RAMDISK_SIZE(%esi)

	movl	$level4, %eax
	movl	%eax, %cr3
	movl	%cr4, %eax
	orl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$CR0_PG, %eax
	movl	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$0x10, $KERNEL

	.balign	8
gdt: /* 0x10: 64-bit code, 0x18: data, as the protocol wants them */
	.quad	0, 0
	.quad	0x00af9a000000ffff
	.quad	0x00cf92000000ffff
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt

	.balign	4096
level4:
	.long	level3 + PRESENT_WRITABLE, 0
	.fill	511, 8, 0
level3:
	.long	PRESENT_WRITABLE_LARGE, 0
	.fill	511, 8, 0
