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

  /** An input with the logits that the model gave for it when it was compiled. */
  static final class Probe {
    final long[] ids;
    final long[] mask;
    final double[] logits;
    final double tolerance;

    Probe(Fields fields) throws InputException {
      ids = whole(row(fields, "input_ids"), fields);
      mask = whole(row(fields, "attention_mask"), fields);
      tolerance = fields.number("tolerance");
      List<?> row = row(fields, "logits");
      logits = new double[row.size()];
      for (int i = 0; i < logits.length; i++) {
        if (!(row.get(i) instanceof Number)) throw new InputException(fields.where() + ": a logit is not a number");
        logits[i] = ((Number) row.get(i)).doubleValue();
      }
      if (ids.length == 0 || ids.length != mask.length) {
        throw new InputException(fields.where() + ": ids and mask are not of one length");
      }
    }

    /** A tensor [1, n] is written as a list of one row. */
    private static List<?> row(Fields fields, String name) throws InputException {
      List<?> rows = fields.list(name);
      if (rows.size() != 1 || !(rows.get(0) instanceof List)) {
        throw new InputException(fields.where() + ": `" + name + "` is not one row");
      }
      return (List<?>) rows.get(0);
    }

    private static long[] whole(List<?> row, Fields fields) throws InputException {
      long[] result = new long[row.size()];
      for (int i = 0; i < result.length; i++) {
        if (!(row.get(i) instanceof Long)) throw new InputException(fields.where() + ": an id is not a whole number");
        result[i] = (Long) row.get(i);
      }
      return result;
    }
  }

  final Map<String, Entry> files;
  final Probe probe;
  public final String program;
  public final List<String> labels;
  public final boolean isRegression;
  public final int maxLength;
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
    labels = Collections.unmodifiableList(fields.texts("labels"));
    isRegression = fields.text("problem").equals("regression");
    if (labels.isEmpty() && !isRegression) throw new InputException("`" + NAME + "` names no label");
    maxLength = (int) fields.integer("max_length", 1, LONGEST_INPUT);
    target = fields.text("target");
    quantization = fields.text("quantization");
    if (fields.list("inputs").size() != 2) {
      throw new InputException("the program takes " + fields.list("inputs").size() + " inputs, this app gives it 2");
    }
    probe = new Probe(fields.object("probe"));
    if (probe.ids.length > maxLength || probe.logits.length != (isRegression ? 1 : labels.size())) {
      throw new InputException("the probe of `" + NAME + "` is not of the program's shape");
    }
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
