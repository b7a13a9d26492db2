package org.spartanc.core;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** SHA-256 of what passes by, and reading with a limit. */
final class Digests {
  private static final String DIGITS = "0123456789abcdef";

  private Digests() {}

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  static String hex(byte[] bytes) {
    StringBuilder result = new StringBuilder(2 * bytes.length);
    for (byte b : bytes) result.append(DIGITS.charAt(b >> 4 & 15)).append(DIGITS.charAt(b & 15));
    return result.toString();
  }

  static String of(byte[] bytes) {
    return hex(sha256().digest(bytes));
  }

  /** All of {@code in}, at most {@code limit} bytes. */
  static byte[] read(InputStream in, int limit, String name) throws IOException, InputException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    byte[] buffer = new byte[1 << 16];
    for (int n; (n = in.read(buffer)) >= 0; ) {
      if (out.size() + n > limit) throw new InputException("`" + name + "` has more than " + limit + " bytes");
      out.write(buffer, 0, n);
    }
    return out.toByteArray();
  }

  /** Copies {@code in} to {@code out} (which may be null) and fails unless size and digest are those expected. */
  static void check(InputStream in, OutputStream out, Manifest.Entry expected) throws IOException, InputException {
    MessageDigest digest = sha256();
    byte[] buffer = new byte[1 << 16];
    long size = 0;
    for (int n; (n = in.read(buffer)) >= 0; ) {
      size += n;
      if (size > expected.bytes) break;
      digest.update(buffer, 0, n);
      if (out != null) out.write(buffer, 0, n);
    }
    if (size != expected.bytes) {
      String got = size > expected.bytes ? "more" : String.valueOf(size);
      throw new InputException("`" + expected.name + "` has " + got + " bytes, its manifest says " + expected.bytes);
    }
    String got = hex(digest.digest());
    if (!got.equals(expected.sha256)) {
      throw new InputException(
          "`" + expected.name + "` has digest `" + got + "`, its manifest says `" + expected.sha256 + "`");
    }
  }
}
