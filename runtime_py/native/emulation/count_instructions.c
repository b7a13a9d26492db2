// A plugin of qemu-user (its TCG plugin interface, version 1): counts the instructions that a program executes, and
// writes the number to the file that its argument `out=FILE` names when the program ends.
//
// The interface's functions are declared here as qemu states them, since Debian ships no header for them. Threads of the
// program count into one number without a lock: run it with one.
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
enum plugin_operation { ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, enum plugin_operation operation,
                                              void *counter, uint64_t amount);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*ended)(plugin_id, void *), void *data);

#define EXPORTED __attribute__((visibility("default")))
EXPORTED int qemu_plugin_version = 1;

static uint64_t executed;
static char out[4096];

static void count_block(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &executed, qemu_plugin_tb_n_insns(block));
}

static void report(plugin_id id, void *data) {
  (void)id;
  (void)data;
  FILE *file = fopen(out, "w");
  if (file != NULL) {
    fprintf(file, "%" PRIu64 "\n", executed);
    fclose(file);
  }
}

EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
  (void)info;
  for (int i = 0; i < count; ++i) {
    if (strncmp(arguments[i], "out=", 4) == 0 && strlen(arguments[i] + 4) < sizeof out) {
      strcpy(out, arguments[i] + 4);
    }
  }
  if (out[0] == '\0') {
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);
  qemu_plugin_register_atexit_cb(id, report, NULL);
  return 0;
}
