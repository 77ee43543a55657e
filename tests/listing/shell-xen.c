/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The listing as a guest of a real Xen: a 64-bit PV kernel that does nothing else. Made for the lab
 * (tests/xen/scenarios/listing.sh); a fault in it is the domain's crash, for it has no handlers. It
 * knows of no interrupts: vCPU 0 starts with its upcalls masked, and they stay so.
 */
#include "tests/listing/listing.h"

#include <xen/elfnote.h>
#include <xen/io/console.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

#define PAGE	  4096UL
#define BASE	  0x40000000UL /* where meson.build has it linked; not 0, so that NULL is unmapped */
#define TEXT(x)	  #x
#define STRING(x) TEXT(x)

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memset(void *dst, int c, size_t n);
void xen_main(const start_info_t *info);

/* Xen's notes say where to begin, and where it shall put the hypercalls. */
__asm__(".macro xen_note type, value:vararg\n"
	"	.pushsection .note.Xen, \"a\", @note\n"
	"	.balign 4\n"
	"	.long 4, 2f - 1f, \\type\n"
	"	.asciz \"Xen\"\n"
	"1:	\\value\n"
	"2:	.balign 4\n"
	"	.popsection\n"
	".endm\n"
	"xen_note " STRING(XEN_ELFNOTE_GUEST_OS) ", .asciz \"listing\"\n"
						 "xen_note " STRING(
							 XEN_ELFNOTE_XEN_VERSION) ", .asciz "
										  "\"xen-3.0\"\n"
										  "xen_"
										  "note " STRING(XEN_ELFNOTE_LOADER) ", .asciz \"generic\"\n"
														     "xen_note " STRING(XEN_ELFNOTE_PAE_MODE) ", .asciz \"yes\"\n"
																			      "xen_note " STRING(XEN_ELFNOTE_VIRT_BASE) ", .quad 0x40000000\n"
																									"xen_note " STRING(XEN_ELFNOTE_PADDR_OFFSET) ", .quad 0x40000000\n"
																														     "xen_note " STRING(XEN_ELFNOTE_ENTRY) ", .quad _start\n"
																																			   "xen_note " STRING(XEN_ELFNOTE_HYPERCALL_PAGE) ", .quad hypercall_page\n"
																																									  "	.text\n"
																																									  "	.balign 4096\n"
																																									  "hypercall_page:\n"
																																									  "	.skip 4096\n"
																																									  "	.globl _start\n"
																																									  "_start:\n"
																																									  "	cld\n"
																																									  "	leaq stack + 65536(%rip), %rsp\n"
																																									  "	movq %rsi, %rdi\n"
																																									  "	xorl %ebp, %ebp\n"
																																									  "	call xen_main\n"
																																									  "	ud2\n"
																																									  "	.local stack\n"
																																									  "	.comm stack, 65536, 16\n");

struct shell_events shell_events;
uint32_t shell_store_port, shell_console_port;

static _Alignas(4096) uint8_t own_pages[SHELL_PAGES][PAGE];
static _Alignas(4096) uint8_t window_pages[SHELL_WINDOWS][PAGE];
/* Their own frames are given up for what is mapped there. */
static _Alignas(4096) uint8_t shared_info_page[PAGE], table_page[PAGE], readonly_page[PAGE],
	status_page[PAGE];
static const unsigned long *frames; /* by page of the guest */
static struct xencons_interface *console;
static char log_text[1 << 17];
static size_t log_len, log_sent;

/* Functions that gcc may call of its own accord. */
void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	while (n--) {
		*d++ = *s++;
		__asm__ volatile("" ::: "memory"); /* else this becomes a call of itself */
	}
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	uint8_t *d = dst;

	while (n--) {
		*d++ = (uint8_t)c;
		__asm__ volatile("" ::: "memory");
	}
	return dst;
}

/* ---- hypercalls -------------------------------------------------------------------------- */

static long hypercall(unsigned long number, unsigned long a, unsigned long b, unsigned long c,
	unsigned long d, unsigned long e)
{
	register unsigned long r10 __asm__("r10") = d;
	register unsigned long r8 __asm__("r8") = e;
	long result;

	__asm__ volatile("shll $5, %%eax\n\t"
			 "leaq hypercall_page(%%rip), %%r11\n\t"
			 "addq %%r11, %%rax\n\t"
			 "call *%%rax"
			 : "=a"(result), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8)
			 : "a"(number)
			 : "rcx", "r11", "memory", "cc");
	return result;
}

static unsigned long address(const void *p)
{
	return (unsigned long)(uintptr_t)p;
}

long shell_evtchn_op(int cmd, void *arg)
{
	return (int)hypercall(
		__HYPERVISOR_event_channel_op, (unsigned int)cmd, address(arg), 0, 0, 0);
}

long shell_grant_op(unsigned int cmd, void *uop, unsigned int count)
{
	return hypercall(__HYPERVISOR_grant_table_op, cmd, address(uop), count, 0, 0);
}

long shell_argo_op(unsigned int cmd, void *arg1, void *arg2, unsigned long arg3, unsigned long arg4)
{
	return hypercall(__HYPERVISOR_argo_op, cmd, address(arg1), address(arg2), arg3, arg4);
}

static void end(unsigned int reason)
{
	sched_shutdown_t op = {.reason = reason};

	for (;;)
		(void)hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, address(&op), 0, 0, 0);
}

/* ---- memory ------------------------------------------------------------------------------ */

static uint64_t frame_of(const void *p)
{
	return frames[(address(p) - BASE) / PAGE];
}

/* Present, user's, accessed, dirty. */
static void map(void *at, uint64_t machine, bool writable)
{
	if (hypercall(__HYPERVISOR_update_va_mapping, address(at),
		    machine | 0x65 | (writable ? 2 : 0), UVMF_INVLPG | UVMF_LOCAL, 0, 0) < 0)
		end(SHUTDOWN_crash);
}

void *shell_page(unsigned int i)
{
	return own_pages[i];
}

uint64_t shell_frame(unsigned int i)
{
	return frame_of(own_pages[i]);
}

uint64_t shell_window(unsigned int i)
{
	return address(window_pages[i]);
}

uint64_t shell_spare(unsigned int i)
{
	return frame_of(window_pages[i]);
}

void *shell_readonly(const void *data, size_t len)
{
	uint64_t machine = frame_of(readonly_page) * PAGE;

	map(readonly_page, machine, true);
	(void)memcpy(readonly_page, data, len);
	map(readonly_page, machine, false);
	return readonly_page;
}

void shell_table(uint64_t frame)
{
	map(table_page, frame * PAGE, true);
}

grant_entry_v1_t *shell_entry(grant_ref_t ref)
{
	return &((grant_entry_v1_t *)table_page)[ref];
}

grant_entry_v2_t *shell_entry_v2(grant_ref_t ref)
{
	return &((grant_entry_v2_t *)table_page)[ref];
}

void shell_status(uint64_t frame)
{
	map(status_page, frame * PAGE, true);
}

void shell_status_gone(void)
{
	map(status_page, frame_of(status_page) * PAGE, true);
}

_Atomic uint16_t *shell_status_of(grant_ref_t ref)
{
	return &((_Atomic uint16_t *)status_page)[ref];
}

/* ---- the console ------------------------------------------------------------------------- */

void shell_print(const char *text, size_t len)
{
	if (log_len + len + 1 > sizeof(log_text))
		end(SHUTDOWN_crash);
	(void)memcpy(log_text + log_len, text, len);
	log_len += len;
	log_text[log_len++] = '\n';
}

static void console_tell(void)
{
	evtchn_send_t op = {.port = shell_console_port};

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	(void)shell_evtchn_op(EVTCHNOP_send, &op);
}

/* All that was printed, and until it was taken: then nothing comes from there any more. */
void shell_flush(void)
{
	XENCONS_RING_IDX produced = console->out_prod;

	while (log_sent < log_len ||
		__atomic_load_n(&console->out_cons, __ATOMIC_ACQUIRE) != produced) {
		while (log_sent < log_len &&
			produced - __atomic_load_n(&console->out_cons, __ATOMIC_ACQUIRE) <
				sizeof(console->out))
			console->out[MASK_XENCONS_IDX(produced++, console->out)] =
				log_text[log_sent++];
		__atomic_store_n(&console->out_prod, produced, __ATOMIC_RELEASE);
		console_tell();
		for (unsigned int i = 0; i < 100 && __atomic_load_n(&console->out_cons,
							    __ATOMIC_ACQUIRE) != produced;
			i++)
			(void)hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield, 0, 0, 0, 0);
	}
}

void xen_main(const start_info_t *info)
{
	shared_info_t *shared = (shared_info_t *)shared_info_page;
	/* from a frame of the machine to the guest's page */
	const unsigned long *pages = (const unsigned long *)MACH2PHYS_VIRT_START;

	frames = (const unsigned long *)(uintptr_t)info->mfn_list;
	map(shared_info_page, info->shared_info, true);
	(void)hypercall(__HYPERVISOR_vcpu_op, VCPUOP_stop_periodic_timer, 0, 0, 0, 0);
	console = (struct xencons_interface *)(BASE + pages[info->console.domU.mfn] * PAGE);
	shell_store_port = info->store_evtchn;
	shell_console_port = info->console.domU.evtchn;
	shell_events = (struct shell_events){
		.pending = (_Atomic uint64_t *)shared->evtchn_pending,
		.mask = (_Atomic uint64_t *)shared->evtchn_mask,
		.selector = (_Atomic uint64_t *)&shared->vcpu_info[0].evtchn_pending_sel,
		.upcall = (_Atomic uint8_t *)&shared->vcpu_info[0].evtchn_upcall_pending,
	};
	listing_run();
	end(SHUTDOWN_poweroff);
}
