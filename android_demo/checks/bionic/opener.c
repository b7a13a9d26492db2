/* Opens a library so that what it needs comes from its own libraries first, as on a phone: it brings a C++ library of
 * its own, and the one of the Java that runs it must not take its place.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <jni.h>

JNIEXPORT jstring JNICALL Java_Opener_open(JNIEnv *env, jclass type, jstring path) {
  (void)type;
  const char *name = (*env)->GetStringUTFChars(env, path, NULL);
  void *library = dlopen(name, RTLD_NOW | RTLD_DEEPBIND);
  (*env)->ReleaseStringUTFChars(env, path, name);
  return library ? NULL : (*env)->NewStringUTF(env, dlerror());
}
