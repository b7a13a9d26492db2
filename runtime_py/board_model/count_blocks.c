// A plugin of qemu-user (its TCG plugin interface, version 1): how often every straight run of instructions ("block") is
// executed, with the instructions themselves, and how many cache lines it misses. Written when the program ends:
//
//     M ADDRESSES …        a line of /proc/self/maps that names a file
//     B ADDRESS EXECUTIONS L1 L2 L3 WORDS     misses of each level; the block's instructions, 8 hex digits each
//
// Arguments: out=FILE; cache=KIB:WAYS:KIB:WAYS[:KIB:WAYS] for data caches, inclusive of nothing, least recently used
// lines replaced, 64 bytes a line; marks=on counts only between two marks. A mark is getpgid(0x7fffff00 + what), which
// the kernel refuses: 1 starts the caches, 2 begins counting anew, 3 writes the result and ends the program.
//
// Only the program's first thread counts: what a pool's other threads do while they wait depends on the moment.
//
// The interface's functions are declared here as qemu states them, since Debian ships no header for them.
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { FIRST_THREAD = 0 };
enum { NO_REGISTERS = 0, READS_AND_WRITES = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned, uint32_t, uint64_t, void *), int,
                                      int, void *);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
unsigned qemu_plugin_mem_size_shift(uint32_t);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id,
                                          void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                   uint64_t, uint64_t, uint64_t, uint64_t));

#define EXPORTED __attribute__((visibility("default")))
EXPORTED int qemu_plugin_version = 1;

enum { BUCKETS = 1 << 18, MOST_INSTRUCTIONS = 1024, LEVELS = 3, LINE_SHIFT = 6 };
enum { GETPGID = 155, MARK = 0x7fffff00, MARK_START_CACHES = MARK + 1, MARK_COUNT, MARK_FINISH };

typedef struct block {
  uint64_t executions, misses[LEVELS], address;
  uint32_t instructions;
  uint32_t *words;
  struct block *next;
} block;

typedef struct {
  int sets, ways;
  uint64_t *tags;  // [sets][ways], most recent first; 0 is empty
} cache;

static block *table[BUCKETS];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static char out[4096];
static int caches, caches_active = 1;
static cache level[LEVELS];

static void make_cache(cache *made, int kib, int ways) {
  made->ways = ways;
  made->sets = kib * 1024 / (1 << LINE_SHIFT) / ways;
  made->tags = calloc((size_t)made->sets * ways, sizeof *made->tags);
}

// Whether `line` was there; it is the most recent one afterwards.
static inline int touch(cache *in, uint64_t line) {
  uint64_t *tags = in->tags + (line % in->sets) * in->ways, tag = line + 1;
  if (tags[0] == tag) {
    return 1;
  }
  int way = 1;
  while (way < in->ways && tags[way] != tag) {
    ++way;
  }
  const int hit = way < in->ways;
  memmove(tags + 1, tags, (hit ? way : in->ways - 1) * sizeof *tags);
  tags[0] = tag;
  return hit;
}

static void accessed(unsigned cpu, uint32_t info, uint64_t address, void *data) {
  if (cpu != FIRST_THREAD || !caches_active) {
    return;
  }
  block *by = data;
  const uint64_t last = (address + (1u << qemu_plugin_mem_size_shift(info)) - 1) >> LINE_SHIFT;
  for (uint64_t line = address >> LINE_SHIFT; line <= last; ++line) {
    for (int i = 0; i < caches && !touch(&level[i], line); ++i) {
      by->misses[i]++;
    }
  }
}

static void executed(unsigned cpu, void *data) {
  if (cpu == FIRST_THREAD) {
    ((block *)data)->executions++;
  }
}

static int is_load_or_store(uint32_t word) { return (word & 0x0a000000) == 0x08000000; }  // Arm ARM C4.1: op0 is x1x0

static void translated(plugin_id id, struct qemu_plugin_tb *tb) {
  (void)id;
  const size_t count = qemu_plugin_tb_n_insns(tb);
  uint32_t words[MOST_INSTRUCTIONS];
  if (count > MOST_INSTRUCTIONS) {
    abort();
  }
  for (size_t i = 0; i < count; ++i) {
    memcpy(words + i, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), sizeof words[i]);
  }
  const uint64_t address = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
  pthread_mutex_lock(&table_lock);
  block **at = &table[(address >> 2) % BUCKETS], *found = *at;
  while (found && !(found->address == address && found->instructions == count &&
                    memcmp(found->words, words, count * sizeof *words) == 0)) {
    found = found->next;
  }
  if (!found) {
    found = calloc(1, sizeof *found);
    found->address = address;
    found->instructions = count;
    found->words = malloc(count * sizeof *words);
    memcpy(found->words, words, count * sizeof *words);
    found->next = *at;
    *at = found;
  }
  pthread_mutex_unlock(&table_lock);
  qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, found);
  for (size_t i = 0; caches > 0 && i < count; ++i) {
    if (is_load_or_store(words[i])) {
      qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), accessed, NO_REGISTERS, READS_AND_WRITES, found);
    }
  }
}

static void report(plugin_id id, void *data) {
  (void)id;
  (void)data;
  FILE *file = fopen(out, "w"), *maps = fopen("/proc/self/maps", "r");
  char line[4096];
  while (file && maps && fgets(line, sizeof line, maps)) {
    if (strchr(line, '/')) {
      fprintf(file, "M %s", line);
    }
  }
  for (int i = 0; file && i < BUCKETS; ++i) {
    for (const block *b = table[i]; b; b = b->next) {
      if (b->executions == 0) {
        continue;
      }
      fprintf(file, "B %" PRIx64 " %" PRIu64, b->address, b->executions);
      for (int k = 0; k < LEVELS; ++k) {
        fprintf(file, " %" PRIu64, b->misses[k]);
      }
      fputc(' ', file);
      for (uint32_t k = 0; k < b->instructions; ++k) {
        fprintf(file, "%08x", b->words[k]);
      }
      fputc('\n', file);
    }
  }
  if (maps) {
    fclose(maps);
  }
  if (file) {
    fclose(file);
  }
}

static void marked(plugin_id id, unsigned cpu, int64_t number, uint64_t what, uint64_t a2, uint64_t a3, uint64_t a4,
                   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number != GETPGID) {
    return;
  }
  if (what == MARK_START_CACHES) {
    caches_active = 1;
  } else if (what == MARK_COUNT) {
    for (int i = 0; i < BUCKETS; ++i) {
      for (block *b = table[i]; b; b = b->next) {
        b->executions = 0;
        memset(b->misses, 0, sizeof b->misses);
      }
    }
  } else if (what == MARK_FINISH) {
    report(id, NULL);
    _exit(0);
  }
}

EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
  (void)info;
  int kib[LEVELS], ways[LEVELS];
  for (int i = 0; i < count; ++i) {
    const char *argument = arguments[i];
    if (strncmp(argument, "out=", 4) == 0 && strlen(argument + 4) < sizeof out) {
      strcpy(out, argument + 4);
    } else if (strcmp(argument, "marks=on") == 0) {
      caches_active = 0;
    } else if (strncmp(argument, "cache=", 6) == 0) {
      const int read = sscanf(argument + 6, "%d:%d:%d:%d:%d:%d", &kib[0], &ways[0], &kib[1], &ways[1], &kib[2], &ways[2]);
      caches = read / 2;
    } else {
      return 1;
    }
  }
  if (out[0] == '\0') {
    return 1;
  }
  for (int i = 0; i < caches; ++i) {
    make_cache(&level[i], kib[i], ways[i]);
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, report, NULL);
  qemu_plugin_register_vcpu_syscall_cb(id, marked);
  return 0;
}
