/* On arm64 Android code reads its stack guard from a slot beside the thread pointer, which glibc gives to the first
 * library's thread-local data. Loaded first, this keeps the slot free: nothing ever writes here.
 */
__thread char slots[4096] __attribute__((tls_model("initial-exec")));
char *first_slot(void) { return slots; }
