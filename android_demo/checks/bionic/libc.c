/* Stands in for Android's libc.so on a glibc machine: what bionic names, lays out or counts differently, and nothing
 * else. Every other symbol of the Android libraries is found in glibc under its own name, for their demand of bionic's
 * symbol versions is taken out of the copies that are loaded here (android_libraries.py).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>

/* glibc's own definition, default version, of a name that this library has too. */
static void *glibc(const char *name) {
  static void *library;
  if (!library) library = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  void *found = dlsym(library, name);
  if (!found) abort();
  return found;
}
#define GLIBC(name) ((__typeof__(&name))glibc(#name))

/* errno */
int *__errno(void) { return __errno_location(); }

/* bionic's strerror_r is POSIX's; under the GNU name stands GNU's. */
int (strerror_r)(int code, char *buffer, size_t size) {
  return ((int (*)(int, char *, size_t))glibc("__xpg_strerror_r"))(code, buffer, size);
}
char *__gnu_strerror_r(int code, char *buffer, size_t size) {
  return ((char *(*)(int, char *, size_t))glibc("strerror_r"))(code, buffer, size);
}

/* Older headers take the standard streams for elements of this array; only its addresses are ever used. */
enum { FILE_BYTES = 152 };
char __sF[3][FILE_BYTES];
static FILE *stream(FILE *given) {
  ptrdiff_t offset = (char *)given - &__sF[0][0];
  if (offset < 0 || offset >= (ptrdiff_t)sizeof __sF) return given;
  FILE *standard[] = {stdin, stdout, stderr};
  return standard[offset / FILE_BYTES];
}
int vfprintf(FILE *file, const char *format, va_list arguments) {
  return GLIBC(vfprintf)(stream(file), format, arguments);
}
int fprintf(FILE *file, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int written = vfprintf(file, format, arguments);
  va_end(arguments);
  return written;
}
int fputs(const char *text, FILE *file) { return GLIBC(fputs)(text, stream(file)); }
int fputc(int character, FILE *file) { return GLIBC(fputc)(character, stream(file)); }
int fflush(FILE *file) { return GLIBC(fflush)(stream(file)); }
size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
  return GLIBC(fwrite)(data, size, count, stream(file));
}

/* Checked variants: what they check, the compiler of the libraries has checked already. */
size_t __strlen_chk(const char *text, size_t size) {
  (void)size;
  return __builtin_strlen(text);
}
char *__strchr_chk(const char *text, int character, size_t size) {
  (void)size;
  return ((char *(*)(const char *, int))glibc("strchr"))(text, character);
}
char *__strrchr_chk(const char *text, int character, size_t size) {
  (void)size;
  return ((char *(*)(const char *, int))glibc("strrchr"))(text, character);
}
ssize_t __write_chk(int file, const void *data, size_t count, size_t size) {
  (void)size;
  return ((ssize_t(*)(int, const void *, size_t))glibc("write"))(file, data, count);
}
void __assert2(const char *file, int line, const char *function, const char *claim) {
  GLIBC(fprintf)(stderr, "%s:%d: %s: `%s` does not hold\n", file, line, function, claim);
  abort();
}

/* bionic's sigset_t has 8 bytes, glibc's 128. */
int (sigfillset)(unsigned long *set) {
  *set = ~0UL;
  return 0;
}
int (pthread_sigmask)(int how, const unsigned long *set, unsigned long *before) {
  long (*call)(long, ...) = (long (*)(long, ...))glibc("syscall");
  return call(SYS_rt_sigprocmask, (long)how, set, before, 8L) == 0 ? 0 : errno;
}

/* Symbols without a version would find glibc's oldest condition variables, which are laid out otherwise. */
#define FORWARD(name, ...) return ((int (*)())glibc(#name))(__VA_ARGS__)
int pthread_cond_wait(void *condition, void *mutex) { FORWARD(pthread_cond_wait, condition, mutex); }
int pthread_cond_timedwait(void *condition, void *mutex, const void *until) {
  FORWARD(pthread_cond_timedwait, condition, mutex, until);
}
int pthread_cond_signal(void *condition) { FORWARD(pthread_cond_signal, condition); }
int pthread_cond_broadcast(void *condition) { FORWARD(pthread_cond_broadcast, condition); }
int pthread_cond_destroy(void *condition) { FORWARD(pthread_cond_destroy, condition); }

/* The names that sysconf is asked for have other numbers. */
long sysconf(int name) {
  static const int numbers[][2] = {
      {0x06, 2},                /* clock ticks */
      {0x27, 30}, {0x28, 30},   /* page size */
      {0x60, 83}, {0x61, 84},   /* processors: configured, online */
      {0x62, 85}, {0x63, 86},   /* pages: all, available */
  };
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    if (numbers[i][0] == name) return ((long (*)(int))glibc("sysconf"))(numbers[i][1]);
  }
  errno = EINVAL;
  return -1;
}

/* Android's own */
int __system_property_get(const char *name, char *value) {
  (void)name;
  value[0] = 0;
  return 0;
}
void android_set_abort_message(const char *message) { GLIBC(fprintf)(stderr, "abort: %s\n", message); }
int __android_log_write(int priority, const char *tag, const char *text) {
  return GLIBC(fprintf)(stderr, "log %d %s: %s\n", priority, tag, text) > 0;
}
int __android_log_vprint(int priority, const char *tag, const char *format, va_list arguments) {
  char text[1024];
  GLIBC(vsnprintf)(text, sizeof text, format, arguments);
  return __android_log_write(priority, tag, text);
}
int __android_log_print(int priority, const char *tag, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int written = __android_log_vprint(priority, tag, format, arguments);
  va_end(arguments);
  return written;
}
void __android_log_assert(const char *condition, const char *tag, const char *format, ...) {
  (void)condition;
  va_list arguments;
  va_start(arguments, format);
  __android_log_vprint(7, tag, format, arguments);
  va_end(arguments);
  abort();
}
