import java.io.File;

/** Opens the runtime's library ahead of Java's own loading; see bionic/opener.c. */
final class Opener {
  private Opener() {}

  private static native String open(String path);

  static void openRuntime() {
    System.loadLibrary("opener");
    String error = open(new File(System.getProperty("java.library.path"), "libexecutorch.so").getPath());
    if (error != null) throw new UnsatisfiedLinkError(error);
  }
}
