/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * FIFO event channels: see model.h. Event words and control blocks are where the guest put them: in
 * the model's copy of its pages, with whatever the guest has written there.
 */
#include "tests/random/model.h"

#include <errno.h>
#include <string.h>

#define PENDING (1U << EVTCHN_FIFO_PENDING)
#define MASKED	(1U << EVTCHN_FIFO_MASKED)
#define LINKED	(1U << EVTCHN_FIFO_LINKED)
#define BUSY	(1U << EVTCHN_FIFO_BUSY)
#define LINK	((1U << EVTCHN_FIFO_LINK_BITS) - 1)
#define HEADS	2U /* words of a control block before its heads; the first is `ready` */

static uint32_t word_get(const struct model *m, uint32_t gfn, uint32_t offset)
{
	uint32_t value;

	memcpy(&value, m->memory[gfn] + offset, sizeof(value));
	return value;
}

static void word_put(struct model *m, uint32_t gfn, uint32_t offset, uint32_t value)
{
	memcpy(model_page_touch(m, gfn) + offset, &value, sizeof(value));
}

/* The page that the port's word is in; 0: there is none. */
uint32_t model_word_at(const struct m_domain *d, uint32_t port, uint32_t *ret_offset)
{
	*ret_offset = port % MODEL_WORDS_PAGE * 4;
	return d->fifo && port / MODEL_WORDS_PAGE < d->n_arrays ? d->arrays[port / MODEL_WORDS_PAGE]
								: 0;
}

uint32_t model_word(const struct model *m, const struct m_domain *d, uint32_t port)
{
	uint32_t offset, gfn = model_word_at(d, port, &offset);

	return gfn ? word_get(m, gfn, offset) : 0;
}

uint32_t model_control_word(
	const struct model *m, const struct m_domain *d, uint32_t vcpu, uint32_t word)
{
	return word_get(m, d->controls[vcpu].gfn, d->controls[vcpu].offset + word * 4);
}

static void control_put(struct model *m, const struct m_control *c, uint32_t word, uint32_t value)
{
	word_put(m, c->gfn, c->offset + word * 4, value);
}

/* evtchn_fifo_set_link: false: the tail is on no queue any more. */
static bool tail_link(struct model *m, const struct m_domain *d, uint32_t tail, uint32_t port)
{
	uint32_t offset, gfn = model_word_at(d, tail, &offset), word;

	if (!tail)
		return false;
	word = word_get(m, gfn, offset);
	if (!(word & LINKED))
		return false;
	word_put(m, gfn, offset, (word & ~(BUSY | LINK)) | port);
	return true;
}

/* Behind the last one of its queue; the vcpu is told where that was empty. */
static void queue_add(struct model *m, uint32_t domain, uint32_t port)
{
	struct m_domain *d = &m->domains[domain];
	struct m_port *p = &d->ports[port];
	struct m_control *c = &d->controls[p->vcpu];
	uint32_t *old_tail = &d->controls[p->last_vcpu].tail[p->last_priority], ready;
	uint8_t q = p->priority;

	if (*old_tail == port)
		*old_tail = 0;
	p->last_vcpu = p->vcpu;
	p->last_priority = q;
	if (!tail_link(m, d, c->tail[q], port)) {
		control_put(m, c, HEADS + q, port);
		ready = model_control_word(m, d, p->vcpu, 0);
		if (!(ready >> q & 1)) {
			control_put(m, c, 0, ready | 1U << q);
			d->upcall[p->vcpu] = 1;
		}
	}
	c->tail[q] = port;
}

/* Also of a port that is closed: expand_array does not ask. */
void model_fifo_raise(struct model *m, uint32_t domain, uint32_t port)
{
	struct m_domain *d = &m->domains[domain];
	uint32_t offset, gfn = model_word_at(d, port, &offset), word;

	m->touched_domains |= 1ULL << domain;
	if (!gfn) {
		d->ports[port].pending = true;
		return;
	}
	if (!d->controls[d->ports[port].vcpu].gfn)
		return; /* lost */
	word = word_get(m, gfn, offset) | PENDING;
	if (word & (MASKED | LINKED)) {
		word_put(m, gfn, offset, word);
		return;
	}
	word_put(m, gfn, offset, word | LINKED);
	queue_add(m, domain, port);
}

void model_fifo_unmask(struct model *m, uint32_t domain, uint32_t port)
{
	uint32_t offset, gfn = model_word_at(&m->domains[domain], port, &offset), word;

	if (!gfn)
		return;
	word = word_get(m, gfn, offset) & ~MASKED;
	word_put(m, gfn, offset, word);
	if (word & PENDING)
		model_fifo_raise(m, domain, port);
}

/* It may stay on its queue; Xen's own ports are left as they are. */
void model_fifo_close(struct model *m, uint32_t domain, uint32_t port)
{
	uint32_t offset, gfn = model_word_at(&m->domains[domain], port, &offset);

	if (gfn && !m->domains[domain].ports[port].xens)
		word_put(m, gfn, offset, word_get(m, gfn, offset) & ~PENDING);
}

void model_fifo_destroy(struct model *m, uint32_t domain)
{
	struct m_domain *d = &m->domains[domain];

	d->fifo = false;
	d->n_arrays = 0;
	memset(d->controls, 0, sizeof(d->controls));
}

int model_init_control(struct model *m, uint32_t self, const evtchn_init_control_t *init)
{
	struct m_domain *d = &m->domains[self];

	if (init->vcpu >= d->n_vcpus)
		return -ENOENT;
	if (init->offset > MODEL_PAGE_SIZE - (HEADS + MODEL_QUEUES) * 4 || init->offset % 8)
		return -EINVAL;
	if (d->controls[init->vcpu].gfn || !model_page_is(m, self, init->control_gfn))
		return -EINVAL;
	d->controls[init->vcpu].gfn = (uint32_t)init->control_gfn;
	d->controls[init->vcpu].offset = init->offset;
	if (d->fifo)
		return 0;
	d->fifo = true;
	for (uint32_t port = 1; port < d->n_valid && port < MODEL_2L_PORTS; port++) {
		if (d->pending[port / 64] >> port % 64 & 1)
			d->ports[port].pending = true;
		d->ports[port].priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
	}
	return 0;
}

int model_expand_array(struct model *m, uint32_t self, uint64_t gfn)
{
	struct m_domain *d = &m->domains[self];
	uint32_t port = d->n_arrays * MODEL_WORDS_PAGE;

	if (!d->fifo)
		return -EOPNOTSUPP;
	if (d->n_arrays == MODEL_ARRAY_PAGES)
		return -ENOSPC;
	if (!model_page_is(m, self, gfn))
		return -EINVAL;
	d->arrays[d->n_arrays++] = (uint32_t)gfn;
	for (; port < d->n_arrays * MODEL_WORDS_PAGE && port < d->n_valid; port++)
		if (d->ports[port].pending)
			model_fifo_raise(m, self, port);
	return 0;
}
