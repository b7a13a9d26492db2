package org.spartanc.core;

import java.io.File;
import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.security.PublicKey;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * A bundle whose manifest and files agree: nothing in it is used before that is so.
 *
 * <p>Digests guard against accidents. Against people, give a key: then the manifest must be signed with its other half.
 */
public final class Bundle {
  private static final String TOKENIZER = "tokenizer.json";
  private static final int TOKENIZER_LIMIT = 64 << 20;
  private static final int SMALL = 1024;

  private final Source source;
  public final Manifest manifest;

  private Bundle(Source source, Manifest manifest) {
    this.source = source;
    this.manifest = manifest;
  }

  /**
   * Checks all of {@code source} but the files of a fleet's tasks, manifest first; {@code key} may be null, and then no
   * signature is asked for.
   */
  public static Bundle open(Source source, PublicKey key) throws InputException {
    try {
      byte[] json = read(source, Manifest.NAME, Manifest.LIMIT);
      String line = new String(read(source, Manifest.DIGEST, SMALL), StandardCharsets.US_ASCII);
      String digest = Digests.of(json);
      if (!line.equals(digest + "  " + Manifest.NAME + "\n")) {
        throw new InputException(
            "`" + Manifest.NAME + "` has digest `" + digest + "`, which is not what `" + Manifest.DIGEST + "` says");
      }
      if (key != null) Signatures.check(json, read(source, Manifest.SIGNATURE, SMALL), key);
      Manifest manifest = Manifest.read(json);
      checkNames(source, manifest);
      for (Manifest.Entry entry : manifest.files.values()) {
        if (isOnlyATask(manifest, entry.name)) continue;
        try (InputStream in = source.open(entry.name)) {
          Digests.check(in, null, entry);
        }
      }
      return new Bundle(source, manifest);
    } catch (IOException e) {
      throw unreadable(e);
    }
  }

  /** A file that nothing but one task's answers depends on: it is checked when the task is opened. */
  private static boolean isOnlyATask(Manifest manifest, String name) {
    return manifest.fleet != null && !name.equals(manifest.program) && name.startsWith("tasks/")
        && manifest.fleet.tasks.containsValue(name);
  }

  private static void checkNames(Source source, Manifest manifest) throws IOException, InputException {
    Set<String> present = new HashSet<>(source.names());
    for (String name : manifest.files.keySet()) {
      if (!present.remove(name) && !isOnlyATask(manifest, name)) throw new InputException("`" + name + "` is missing");
    }
    present.remove(Manifest.NAME);
    present.remove(Manifest.DIGEST);
    present.remove(Manifest.SIGNATURE);
    if (!present.isEmpty()) {
      throw new InputException("`" + present.iterator().next() + "` is not listed in `" + Manifest.NAME + "`");
    }
  }

  private static byte[] read(Source source, String name, int limit) throws IOException, InputException {
    try (InputStream in = source.open(name)) {
      return Digests.read(in, limit, name);
    } catch (FileNotFoundException e) {
      throw new InputException("`" + name + "` is missing", e);
    }
  }

  private static InputException unreadable(IOException e) {
    return new InputException("the bundle can't be read: " + e.getMessage(), e);
  }

  public Tokenizer tokenizer() throws InputException {
    Manifest.Entry entry = manifest.files.get(TOKENIZER);
    if (entry == null) throw new InputException("the bundle has no `" + TOKENIZER + "`: it takes token ids, not text");
    try {
      byte[] json = read(source, TOKENIZER, TOKENIZER_LIMIT);
      if (!Digests.of(json).equals(entry.sha256)) throw new InputException("`" + TOKENIZER + "` changed while it was read");
      return Tokenizer.read(json);
    } catch (IOException e) {
      throw unreadable(e);
    }
  }

  /** Names of the tasks of a shared program; none for a program with one task. */
  public List<String> tasks() {
    return manifest.fleet == null ? Collections.<String>emptyList() : new ArrayList<>(manifest.fleet.tasks.keySet());
  }

  /** The task {@code name} of a shared program, or the one task of another, whose name is not asked. */
  public Task task(String name, File folder) throws InputException {
    if (manifest.fleet == null) return manifest.task;
    String entry = manifest.fleet.tasks.get(name);
    if (entry == null) throw new InputException("the bundle has no task `" + name + "`");
    return task(extract(manifest.files.get(entry), folder, ".safetensors"));
  }

  /** The task in {@code file}, which may come from elsewhere: it must be one for this bundle, a shared program. */
  public Task task(File file) throws InputException {
    if (manifest.fleet == null) throw new InputException("the bundle has one task of its own, and takes no others");
    try (FileInputStream in = new FileInputStream(file); FileChannel channel = in.getChannel()) {
      if (channel.size() > Integer.MAX_VALUE) {
        throw new InputException("the task's file is too large: " + channel.size() + " bytes");
      }
      return TaskFile.read(channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size()), manifest.fleet, manifest.maxLength);
    } catch (IOException e) {
      throw new InputException("the task can't be read: " + e.getMessage(), e);
    }
  }

  /** The program as a file in {@code folder}, for a runtime that wants a path. */
  public File program(File folder) throws InputException {
    return extract(manifest.files.get(manifest.program), folder, ".pte");
  }

  /**
   * A file of the bundle as a file in {@code folder}, named by its digest and copied once; one that is there already is
   * used if it is still what its name says.
   */
  private File extract(Manifest.Entry entry, File folder, String suffix) throws InputException {
    File file = new File(folder, entry.sha256 + suffix);
    if (isWhole(file, entry)) return file;
    File partial = new File(folder, entry.sha256 + ".partial");
    try {
      try (InputStream in = source.open(entry.name); OutputStream out = new FileOutputStream(partial)) {
        Digests.check(in, out, entry);
      }
      if (!partial.renameTo(file)) throw new IOException("`" + file.getName() + "` can't be written");
      return file;
    } catch (IOException e) {
      throw new InputException("`" + entry.name + "` can't be copied: " + e.getMessage(), e);
    } finally {
      if (partial.exists() && !partial.delete()) partial.deleteOnExit();
    }
  }

  private static boolean isWhole(File file, Manifest.Entry entry) {
    try (InputStream in = new FileInputStream(file)) {
      Digests.check(in, null, entry);
      return true;
    } catch (IOException | InputException e) {
      return false;
    }
  }
}
