package org.spartanc.core;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a bundle says of itself: see docs/formats/bundle.md. Fields that this reader does not know are ignored. */
public final class Manifest {
  public static final String NAME = "manifest.json";
  public static final String DIGEST = "manifest.sha256";
  public static final String SIGNATURE = "manifest.sig";
  static final int LIMIT = 4 << 20;
  private static final String TOKENIZER = "tokenizer.json";
  private static final String FORMAT = "spartanc-bundle";
  /** Versions of the format: readers of the first alone would run a program on less than it takes. */
  private static final long PLAIN = 1;
  private static final long WITH_MIN_LENGTH = 2;
  private static final int LONGEST_INPUT = 1 << 16;
  private static final int LARGEST_VOCABULARY = 1 << 30;
  private static final int TOKENIZER_LIMIT = 64 << 20;
  private static final int LONGEST_NAME = 512;
  private static final int MOST_PARTS = 16;
  private static final long MOST_COUNT = (1L << 53) - 1;
  private static final String[] INPUTS = {"input_ids", "attention_mask"};

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
  /** Ids of the shortest input that the program takes; shorter ones are padded. */
  public final int minLength;
  /** How many token ids the program has a row for; 0 where the manifest does not say. */
  public final int vocabularySize;
  public final String target;
  public final String quantization;

  private Manifest(Fields fields) throws InputException {
    if (!FORMAT.equals(fields.raw("format"))) throw new InputException("`" + NAME + "` is not of format `" + FORMAT + "`");
    checkVersion(fields.raw("format_version"), fields.has("min_length"));
    files = Collections.unmodifiableMap(entries(fields.object("files")));
    program = fields.text("program");
    if (!files.containsKey(program)) throw new InputException("`" + NAME + "` does not list its `program` in `files`");
    maxLength = (int) fields.integer("max_length", 1, LONGEST_INPUT);
    minLength = fields.has("min_length") ? (int) fields.integer("min_length", 1, maxLength) : 1;
    target = fields.plainText("target");
    quantization = fields.word("quantization", Words.QUANTIZATIONS);
    fields.word("lowering", Words.LOWERINGS);
    if (fields.has("program_format")) fields.word("program_format", Words.PROGRAM_FORMATS);
    vocabularySize = fields.has("vocabulary_size") ? (int) fields.integer("vocabulary_size", 1, LARGEST_VOCABULARY) : 0;
    if (fields.has("operators")) fields.texts("operators");
    if (fields.has("backends")) fields.texts("backends");
    String problem = fields.word("problem", Words.TASK_TYPES_AND_FLEET);
    boolean isFleet = problem.equals(Words.FLEET);
    if (isFleet != fields.has("fleet")) {
      throw new InputException("`" + NAME + "` has a `fleet` without that problem, or that problem without a `fleet`");
    }
    Labels labels = Labels.ofManifest(fields, problem);
    Boolean pairs = fields.flag("pairs"); // held to its type in a fleet too, whose tasks have their own
    if (fields.has("inputs")) checkInputs(fields);
    if (fields.has("outputs")) checkOutputs(fields, isFleet ? (Object) "classes" : (Object) (long) labels.outputs());
    if (isFleet) Probe.checkInput(fields.object("probe"), maxLength);
    fleet = isFleet ? new Fleet(fields.object("fleet"), files.keySet()) : null;
    task = isFleet ? null : task(fields, problem, labels, pairs);
  }

  private static void checkVersion(Object version, boolean hasMinLength) throws InputException {
    if (!Long.valueOf(PLAIN).equals(version) && !Long.valueOf(WITH_MIN_LENGTH).equals(version)) {
      throw new InputException("the bundle has format_version `" + version + "`, this app reads `" + PLAIN + "` and `"
          + WITH_MIN_LENGTH + "`");
    }
    if (Long.valueOf(WITH_MIN_LENGTH).equals(version) != hasMinLength) {
      throw new InputException("`" + NAME + "` has format_version `" + version + "`, and " + (hasMinLength ? "a" : "no")
          + " `min_length`");
    }
  }

  private Task task(Fields fields, String problem, Labels labels, Boolean pairs) throws InputException {
    Probe probe = new Probe(fields.object("probe"), labels.outputs(), maxLength);
    return new Task(labels, problem.equals(Words.REGRESSION), pairs, Collections.<TaskTensor>emptyList(), probe);
  }

  private static void checkInputs(Fields fields) throws InputException {
    List<Object> inputs = fields.list("inputs");
    if (inputs.size() != INPUTS.length) {
      throw new InputException("the program takes " + inputs.size() + " `inputs`, this app gives it " + INPUTS.length);
    }
    for (int i = 0; i < INPUTS.length; i++) {
      boolean good = true;
      for (Object size : shape(inputs.get(i), "inputs", INPUTS[i], "int64")) {
        boolean isSize = size instanceof Long && (Long) size >= 1 && (Long) size <= LONGEST_INPUT;
        good &= isSize || "L".equals(size);
      }
      if (!good) throw new InputException("`" + NAME + "`, `inputs`: `" + INPUTS[i] + "` is not [1, L]");
    }
  }

  private static void checkOutputs(Fields fields, Object classes) throws InputException {
    List<Object> outputs = fields.list("outputs");
    if (outputs.size() != 1) throw new InputException("the program has " + outputs.size() + " `outputs`, this app takes 1");
    List<Object> shape = shape(outputs.get(0), "outputs", "logits", "float32");
    if (!(shape.get(0) instanceof Long) || (Long) shape.get(0) < 1 || !classes.equals(shape.get(1))) {
      throw new InputException("`" + NAME + "`, `outputs`: `logits` are not [1, " + classes + "]");
    }
  }

  /** The shape of two sizes of the tensor that {@code value} describes. */
  private static List<Object> shape(Object value, String field, String name, String type) throws InputException {
    Fields tensor = Fields.of(value, "`" + NAME + "`, `" + field + "`");
    List<Object> shape = tensor.list("shape");
    if (!tensor.text("name").equals(name) || !tensor.text("dtype").equals(type) || shape.size() != 2) {
      throw new InputException(tensor.where() + " do not describe `" + name + "` as " + type);
    }
    return shape;
  }

  static Manifest read(byte[] json) throws InputException {
    return new Manifest(Fields.of(Json.parse(json, "`" + NAME + "`"), "`" + NAME + "`"));
  }

  private static Map<String, Entry> entries(Fields fields) throws InputException {
    Map<String, Entry> result = new LinkedHashMap<>();
    for (String name : fields.names()) {
      if (!isInside(name)) throw new InputException("`" + NAME + "` lists `" + Json.shorten(name) + "`, no file of a bundle");
      Fields entry = fields.object(name);
      long bytes = entry.integer("bytes", 0, MOST_COUNT);
      if (name.equals(TOKENIZER) && bytes > TOKENIZER_LIMIT) {
        throw new InputException("`" + NAME + "` has a `" + TOKENIZER + "` of more than " + TOKENIZER_LIMIT + " bytes");
      }
      result.put(name, new Entry(name, bytes, entry.digest("sha256")));
    }
    return result;
  }

  /** Whether a name stays inside the bundle, written in the one plain way. */
  static boolean isInside(String name) {
    if (name.indexOf('\\') >= 0 || name.getBytes(StandardCharsets.UTF_8).length > LONGEST_NAME) return false;
    for (int i = 0; i < name.length(); i++) {
      if (name.charAt(i) < ' ' || name.charAt(i) == 127) return false;
    }
    String[] parts = name.split("/", -1);
    for (String part : parts) {
      if (part.isEmpty() || part.equals(".") || part.equals("..")) return false;
    }
    return parts.length <= MOST_PARTS && !name.equals(NAME) && !name.equals(DIGEST) && !name.equals(SIGNATURE);
  }

  List<String> names() {
    return new ArrayList<>(files.keySet());
  }
}
