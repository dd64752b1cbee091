/* A stand-in for NVIDIA's driver library, libcuda.so.1, to try the host's part without
 * a GPU: it resolves the names that scoring/cuda/driver calls, and fails when told to.
 *
 * Device memory is host memory under other addresses, so that an address of the wrong
 * side is caught; a thread has to make the context current, as with the real one. A
 * stream is a thread that works off what was queued. The kernels are in score.c: they
 * score from a packed model with the arithmetic of scoring/doc.go, to the same bits, or
 * with inputs and matrices of half precision.
 *
 * What fails is said by the environment, CUDA_FAKE=what[:n]:
 *
 *     no_device  old_driver  old_device  no_pin  bad_module   at the start
 *     oom:n                                                   the n-th allocation
 *
 * and, for what happens while batches run, by the file that CUDA_FAKE_CONTROL names,
 * which every process of a test maps: struct control, below. Compiled with
 * -DWITHOUT_GRAPH_UPLOAD a function is missing.
 *
 * Once a batch has been launched nothing may be allocated, loaded or made any more: the
 * real one would wait for the device.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "score.h"

typedef int result;
typedef uint64_t devptr;

enum {
    OK = 0, INVALID = 1, NO_MEMORY = 2, NOT_INITIALISED = 3, NO_DEVICE = 100, BAD_DEVICE = 101, BAD_IMAGE = 200,
    NO_CONTEXT = 201, BAD_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, MISALIGNED = 716,
    LAUNCH_FAILED = 719, NOT_PERMITTED = 800, NOT_SUPPORTED = 801, UNKNOWN = 999,
};

/* Of fake_test.go. */
struct control {
    _Atomic int64_t launched, at;
    _Atomic uint32_t fault, absent, slow, wrong;
    _Atomic int64_t struck;
};
enum { STRIKE_LAUNCH = 1, STRIKE_STICKY, STRIKE_HANG, STRIKE_CRASH, STRIKE_MEMORY, STRIKE_WRONG, STRIKE_LOST };

static struct control none, *control = &none;
static char fake[32];
static long fake_n;
static atomic_int initialised, sticky, wrong, serving;
static int context;            /* its address is the handle */
static __thread void *current; /* context of this thread */

__attribute__((constructor)) static void setup(void) {
    const char *s = getenv("CUDA_FAKE"), *name = getenv("CUDA_FAKE_CONTROL");
    if (s) {
        const char *colon = strchrnul(s, ':');
        snprintf(fake, sizeof fake, "%.*s", (int)(colon - s), s);
        fake_n = *colon ? atol(colon + 1) : 0;
    }
    if (name) {
        int fd = open(name, O_RDWR | O_CLOEXEC);
        void *p = fd < 0 ? MAP_FAILED : mmap(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            fprintf(stderr, "fake driver: %s: %s\n", name, strerror(errno));
            exit(1);
        }
        control = p;
        close(fd);
    }
}

static int told(const char *name) { return !strcmp(fake, name); }

/* Memory that the device knows: allocated, or of the host and registered. */
enum { REGIONS = 64 };
static struct region { devptr at; char *host; size_t size; int of_host; } regions[REGIONS];
static atomic_int region_count;
static pthread_mutex_t region_lock = PTHREAD_MUTEX_INITIALIZER;
static const devptr device_space = 0x7000000000000000;

static result add_region(char *host, size_t size, int of_host, devptr *at) {
    pthread_mutex_lock(&region_lock);
    int n = region_count;
    if (n < REGIONS) {
        regions[n] = (struct region){device_space + (uintptr_t)host, host, size, of_host};
        if (at) *at = regions[n].at;
        region_count = n + 1;
    }
    pthread_mutex_unlock(&region_lock);
    return n < REGIONS ? OK : NO_MEMORY;
}

/* at returns where size bytes of device memory lie, or 0. */
static void *at(devptr p, size_t size) {
    for (int i = 0; i < region_count; i++)
        if (p >= regions[i].at && size <= regions[i].size && p - regions[i].at <= regions[i].size - size)
            return regions[i].host + (p - regions[i].at);
    return 0;
}

/* A launch, a copy or a fill. */
struct op { enum { KERNEL, KERNEL_F16, COPY, FILL } kind; devptr to; const void *from; size_t size; uint32_t fill; devptr arg[4]; };
struct graph { int count; struct op op[4]; };
struct item { struct op op; int hang, illegal; };
struct stream {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct item queue[64];
    unsigned first, count;
    struct graph *capture;
};

/* kernel is weir_score_f32 or weir_score_f16: it returns the error that the device would end in. */
static result kernel(const struct op *op) {
    const struct batch_header *h = at(op->arg[0], sizeof *h);
    atomic_uint *scratch = at(op->arg[1], 256);
    if (!h || !scratch) return ILLEGAL_ADDRESS;
    if (op->arg[0] % 16 || op->arg[3] % 8) return MISALIGNED;
    if (atomic_exchange(scratch, 1)) {
        fprintf(stderr, "fake driver: two launches share a scratch, or it was not zero\n");
        return ILLEGAL_ADDRESS;
    }
    const uint32_t *model = at(h->model, 256);
    const float *x = at(op->arg[0] + sizeof *h, (size_t)4 * h->rows * h->columns);
    float *out = at(op->arg[2], (size_t)4 * h->rows);
    atomic_ullong *done = at(op->arg[3], 8);
    if (!model || !x || !out || !done || !at(h->model, model[2])) return ILLEGAL_ADDRESS;
    if (h->model % 256) return MISALIGNED;
    if (control->slow) usleep(control->slow);
    if (!score(op->kind == KERNEL_F16, model, x, h->rows, h->columns, out)) {
        fprintf(stderr, "fake driver: no model for this kernel, or of other columns than the batch's %u\n", h->columns);
        return ILLEGAL_ADDRESS;
    }
    /* 1: the first score has a wrong bit; 2: each is wrong, by a quarter or more of itself. */
    uint32_t how = control->wrong ? control->wrong : (uint32_t)wrong;
    for (uint32_t i = 0; i < (how == 1 ? h->rows > 0 : how ? h->rows : 0); i++) {
        uint32_t bits;
        memcpy(&bits, out + i, 4);
        bits ^= how == 1 ? 1 : 1 << 22;
        memcpy(out + i, &bits, 4);
    }
    uint64_t seq = h->seq;
    atomic_store(scratch, 0);
    atomic_store(done, seq);
    return OK;
}

static result perform(const struct op *op) {
    if (op->kind == KERNEL || op->kind == KERNEL_F16) return kernel(op);
    char *to = at(op->to, op->size);
    if (!to) return ILLEGAL_ADDRESS;
    if (op->kind == COPY) memcpy(to, op->from, op->size);
    for (size_t i = 0; op->kind == FILL && i < op->size / 4; i++) ((uint32_t *)to)[i] = op->fill;
    return OK;
}

static void *work(void *p) {
    struct stream *s = p;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (!s->count) pthread_cond_wait(&s->changed, &s->lock);
        struct item *it = &s->queue[s->first % 64];
        pthread_mutex_unlock(&s->lock);
        while (it->hang) pause();
        result r = it->illegal ? it->illegal : sticky ? sticky : perform(&it->op);
        if (r) sticky = r;
        pthread_mutex_lock(&s->lock);
        s->first++, s->count--;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
    return 0;
}

static result enqueue(struct stream *s, const struct op *op, int hang, int illegal) {
    pthread_mutex_lock(&s->lock);
    while (s->count == 64) pthread_cond_wait(&s->changed, &s->lock);
    s->queue[(s->first + s->count++) % 64] = (struct item){*op, hang, illegal};
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return OK;
}

static result submit(struct stream *s, struct op op) {
    if (!s) return BAD_HANDLE;
    if (!s->capture) return enqueue(s, &op, 0, 0);
    if (s->capture->count == 4) return INVALID;
    s->capture->op[s->capture->count++] = op;
    return OK;
}

static result allocated(void) { return told("oom") && --fake_n == 0 ? NO_MEMORY : OK; }

#define CALL if (!initialised) return NOT_INITIALISED; if (sticky) return sticky
#define IN_CONTEXT CALL; if (current != &context) return NO_CONTEXT
#define BEFORE_BATCHES IN_CONTEXT; if (late(__func__)) return NOT_PERMITTED

static int late(const char *call) {
    if (serving) fprintf(stderr, "fake driver: %s while batches run\n", call);
    return serving;
}

result cuInit(unsigned flags) {
    if (flags) return INVALID;
    if (told("no_device")) return NO_DEVICE;
    uint32_t n = control->absent;
    while (n && !atomic_compare_exchange_weak(&control->absent, &n, n - 1)) ;
    if (n) return NO_DEVICE;
    initialised = 1;
    return OK;
}
result cuDriverGetVersion(int *v) { *v = told("old_driver") ? 11080 : 13000; return OK; }
result cuDeviceGetCount(int *n) { CALL; *n = 1; return OK; }
result cuDeviceGet(int *d, int i) { CALL; if (i) return BAD_DEVICE; *d = 0; return OK; }
result cuDeviceGetName(char *s, int n, int d) { CALL; if (d) return BAD_DEVICE; snprintf(s, n, "Fake GPU"); return OK; }
result cuDeviceGetAttribute(int *v, int a, int d) {
    CALL;
    if (d) return BAD_DEVICE;
    int major = told("old_device") ? 7 : told("ptx") ? 8 : 9;
    *v = a == 75 ? major : a == 76 ? 0 : a == 16 ? 132 : 0;
    return OK;
}
result cuDeviceTotalMem_v2(size_t *n, int d) { CALL; *n = (size_t)1 << 33; return OK; }
result cuDevicePrimaryCtxRetain(void **c, int d) { CALL; *c = &context; return d ? BAD_DEVICE : OK; }
result cuCtxSetCurrent(void *c) { CALL; if (c != &context) return NO_CONTEXT; current = c; return OK; }
result cuMemGetInfo_v2(size_t *free, size_t *total) { IN_CONTEXT; *total = (size_t)1 << 33, *free = *total / 2; return OK; }

/* A module is a cubin or PTX, whole; a function is a name that it holds. */
struct module { const char *image; size_t size; };
result cuModuleLoadData(void **m, const void *image) {
    BEFORE_BATCHES;
    struct module *n = calloc(1, sizeof *n);
    n->image = image;
    if (!memcmp(image, ELFMAG, SELFMAG)) {
        const Elf64_Ehdr *e = image;
        n->size = e->e_shoff + (size_t)e->e_shnum * e->e_shentsize;
        if (e->e_machine != 190 || told("ptx")) return 209; /* EM_CUDA */
    } else {
        n->size = strlen(image);
        if (!strstr(image, ".version 8.0") || !strstr(image, ".target sm_80")) return 218;
    }
    if (told("bad_module")) return 218;
    n->image = memcpy(malloc(n->size), image, n->size);
    *m = n;
    return OK;
}
result cuModuleGetFunction(void **f, struct module *m, const char *name) {
    IN_CONTEXT;
    if (!memmem(m->image, m->size, name, strlen(name)) || (strcmp(name, "weir_score_f32") && strcmp(name, "weir_score_f16"))) return NOT_FOUND;
    *f = strdup(name);
    return OK;
}
result cuFuncSetAttribute(void *f, int a, int v) { IN_CONTEXT; return OK; }

result cuMemAlloc_v2(devptr *p, size_t n) {
    BEFORE_BATCHES;
    void *host;
    if (allocated() || posix_memalign(&host, 256, n)) return NO_MEMORY;
    return add_region(host, n, 0, p);
}
result cuMemHostAlloc(void **p, size_t n, unsigned flags) {
    BEFORE_BATCHES;
    if (allocated() || posix_memalign(p, 4096, n)) return NO_MEMORY;
    memset(*p, 0xff, n); /* whatever was there */
    return flags & 2 ? add_region(*p, n, 1, 0) : OK;
}
result cuMemHostRegister_v2(void *p, size_t n, unsigned flags) {
    BEFORE_BATCHES;
    if (told("no_pin") || (uintptr_t)p % 4096 || n % 4096 || !(flags & 2)) return NOT_SUPPORTED;
    return add_region(p, n, 1, 0);
}
result cuMemHostGetDevicePointer_v2(devptr *d, void *p, unsigned flags) {
    IN_CONTEXT;
    for (int i = 0; i < region_count; i++)
        if (regions[i].of_host && regions[i].host == p) {
            *d = regions[i].at;
            return OK;
        }
    return INVALID;
}
result cuMemcpyHtoDAsync_v2(devptr to, const void *from, size_t n, struct stream *s) {
    IN_CONTEXT;
    return at(to, n) ? submit(s, (struct op){.kind = COPY, .to = to, .from = from, .size = n}) : INVALID;
}
result cuMemsetD32Async(devptr to, unsigned v, size_t n, struct stream *s) {
    IN_CONTEXT;
    return at(to, 4 * n) ? submit(s, (struct op){.kind = FILL, .to = to, .size = 4 * n, .fill = v}) : INVALID;
}

result cuStreamCreate(struct stream **s, unsigned flags) {
    BEFORE_BATCHES;
    struct stream *n = calloc(1, sizeof *n);
    pthread_mutex_init(&n->lock, 0);
    pthread_cond_init(&n->changed, 0);
    *s = n;
    return pthread_create(&n->thread, 0, work, n) ? NO_MEMORY : OK;
}
result cuStreamSynchronize(struct stream *s) {
    IN_CONTEXT;
    pthread_mutex_lock(&s->lock);
    while (s->count) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return sticky;
}
result cuStreamQuery(struct stream *s) {
    IN_CONTEXT;
    pthread_mutex_lock(&s->lock);
    unsigned left = s->count;
    pthread_mutex_unlock(&s->lock);
    return sticky ? sticky : left ? NOT_READY : OK;
}

result cuLaunchKernel(char *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                      struct stream *s, void **args, void **extra) {
    IN_CONTEXT;
    int half = f && !strcmp(f, "weir_score_f16");
    if (!f || !gx || gy != 1 || gz != 1 || bx != (half ? 256 : 128) || by != 1 || bz != 1 || shared || !args || extra) return INVALID;
    struct op op = {.kind = half ? KERNEL_F16 : KERNEL};
    for (int i = 0; i < 4; i++) memcpy(&op.arg[i], args[i], 8);
    return submit(s, op);
}
result cuStreamBeginCapture_v2(struct stream *s, int mode) {
    BEFORE_BATCHES;
    if (s->capture) return INVALID;
    s->capture = calloc(1, sizeof *s->capture);
    return OK;
}
result cuStreamEndCapture(struct stream *s, struct graph **g) {
    IN_CONTEXT;
    if (!s->capture) return INVALID;
    *g = s->capture, s->capture = 0;
    return OK;
}
result cuGraphInstantiateWithFlags(struct graph **e, struct graph *g, unsigned long long flags) {
    BEFORE_BATCHES;
    *e = memcpy(malloc(sizeof *g), g, sizeof *g);
    return OK;
}
#ifndef WITHOUT_GRAPH_UPLOAD
result cuGraphUpload(struct graph *e, struct stream *s) { IN_CONTEXT; return e && s ? OK : BAD_HANDLE; }
#endif
result cuGraphDestroy(struct graph *g) { IN_CONTEXT; free(g); return OK; }
result cuGraphExecDestroy(struct graph *e) { IN_CONTEXT; free(e); return OK; }

result cuGraphLaunch(struct graph *e, struct stream *s) {
    IN_CONTEXT;
    if (!e || !s) return BAD_HANDLE;
    volatile int *volatile nowhere = 0;
    int hang = 0, illegal = 0;
    int64_t n = ++control->launched;
    serving = 1;
    if (n == control->at) {
        control->struck = n;
        switch (control->fault) {
        case STRIKE_LAUNCH: return LAUNCH_FAILED;
        case STRIKE_MEMORY: return NO_MEMORY;
        case STRIKE_STICKY: illegal = ILLEGAL_ADDRESS; break;
        case STRIKE_LOST: illegal = UNKNOWN, control->absent = 3; break;
        case STRIKE_HANG: hang = 1; break;
        case STRIKE_CRASH: *nowhere = 1; break;
        case STRIKE_WRONG: wrong = 1; break;
        }
    }
    for (int i = 0; i < e->count; i++) enqueue(s, &e->op[i], hang, illegal);
    return OK;
}
