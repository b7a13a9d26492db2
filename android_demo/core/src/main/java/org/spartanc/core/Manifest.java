package org.spartanc.core;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a bundle says of itself. Fields that this reader does not know are left alone. */
public final class Manifest {
  public static final String NAME = "manifest.json";
  public static final String DIGEST = "manifest.sha256";
  public static final String SIGNATURE = "manifest.sig";
  static final int LIMIT = 4 << 20;
  private static final String FORMAT = "spartanc-bundle";
  private static final long VERSION = 1;
  private static final int LONGEST_INPUT = 1 << 16;
  private static final int LARGEST_VOCABULARY = 1 << 30;

  /** One file: where it stands, its size and the SHA-256 of its bytes. */
  static final class Entry {
    final String name;
    final long bytes;
    final String sha256;

    Entry(String name, long bytes, String sha256) {
      this.name = name;
      this.bytes = bytes;
      this.sha256 = sha256;
    }
  }

  final Map<String, Entry> files;
  /** What tasks a shared program takes; null for a program with one task. */
  final Fleet fleet;
  /** The one task of a program without others; null for a shared one. */
  final Task task;
  public final String program;
  public final int maxLength;
  /** How many token ids the program has a row for; 0 where the manifest does not say. */
  public final int vocabularySize;
  public final String target;
  public final String quantization;

  private Manifest(Fields fields) throws InputException {
    if (!FORMAT.equals(fields.raw("format"))) throw new InputException("`" + NAME + "` is not of format `" + FORMAT + "`");
    if (!Long.valueOf(VERSION).equals(fields.raw("format_version"))) {
      throw new InputException("the bundle has format version `" + fields.raw("format_version")
          + "`, this app reads `" + VERSION + "`");
    }
    files = Collections.unmodifiableMap(entries(fields.object("files")));
    program = fields.text("program");
    if (!files.containsKey(program)) throw new InputException("`" + NAME + "` does not list its program");
    maxLength = (int) fields.integer("max_length", 1, LONGEST_INPUT);
    vocabularySize = fields.isNull("vocabulary_size") ? 0 : (int) fields.integer("vocabulary_size", 1, LARGEST_VOCABULARY);
    target = fields.text("target");
    quantization = fields.text("quantization");
    if (fields.list("inputs").size() != 2) {
      throw new InputException("the program takes " + fields.list("inputs").size() + " inputs, this app gives it 2");
    }
    fleet = fields.isNull("fleet") ? null : new Fleet(fields.object("fleet"));
    if (fleet != null) {
      for (String file : fleet.tasks.values()) {
        if (!files.containsKey(file)) throw new InputException("`" + NAME + "` does not list its task `" + Json.shorten(file) + "`");
      }
    }
    task = fleet == null ? task(fields) : null;
  }

  private Task task(Fields fields) throws InputException {
    List<String> labels = fields.texts("labels");
    boolean isRegression = fields.text("problem").equals("regression");
    if (labels.isEmpty() && !isRegression) throw new InputException("`" + NAME + "` names no label");
    Probe probe = new Probe(fields.object("probe"), isRegression ? 1 : labels.size(), maxLength);
    return new Task(labels, isRegression, fields.flag("pairs"), Collections.<TaskTensor>emptyList(), probe);
  }

  static Manifest read(byte[] json) throws InputException {
    return new Manifest(Fields.of(Json.parse(json, "`" + NAME + "`"), "`" + NAME + "`"));
  }

  private static Map<String, Entry> entries(Fields fields) throws InputException {
    Map<String, Entry> result = new LinkedHashMap<>();
    for (String name : fields.names()) {
      if (!isInside(name)) throw new InputException("`" + NAME + "` lists `" + Json.shorten(name) + "`, no file of a bundle");
      Fields entry = fields.object(name);
      String digest = entry.text("sha256");
      if (!digest.matches("[0-9a-f]{64}")) throw new InputException("`" + NAME + "` has no valid digest of `" + name + "`");
      result.put(name, new Entry(name, entry.integer("bytes", 0, Long.MAX_VALUE), digest));
    }
    return result;
  }

  /** Whether a name stays inside the bundle, written in the one plain way. */
  static boolean isInside(String name) {
    if (name.isEmpty() || name.indexOf('\\') >= 0 || name.indexOf('\0') >= 0 || name.length() > 512) return false;
    for (String part : name.split("/", -1)) {
      if (part.isEmpty() || part.equals(".") || part.equals("..")) return false;
    }
    return !name.equals(NAME) && !name.equals(DIGEST) && !name.equals(SIGNATURE);
  }

  List<String> names() {
    return new ArrayList<>(files.keySet());
  }
}
