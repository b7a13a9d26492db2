package org.spartanc.core;

import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads a task's file: safetensors with a digest of its own at the head of its header. Nothing in it is trusted; what is
 * checked is in docs/formats/task.md.
 */
final class TaskFile {
  private static final String PREFIX = "{\"__metadata__\":{\"digest\":\"";
  private static final int DIGEST_AT = 8 + PREFIX.length();
  private static final int DIGITS = 64;
  private static final int ALIGNMENT = 64;
  private static final int HEADER_LIMIT = 4 << 20;
  private static final int MOST_DIMENSIONS = Fleet.MOST_DIMENSIONS;
  private static final String[] MEMBERS = {"name", "backbone", "quantization", "problem", "labels", "memory", "probe"};
  private static final String[] MEMBERS_WITH_SPARSE = {
    "name", "backbone", "quantization", "problem", "labels", "memory", "probe", "sparse"
  };
  private static final int F16_EXPONENT = 0x7c00;
  private static final Map<String, Integer> BYTES = new HashMap<>();

  static {
    BYTES.put("F32", 4);
    BYTES.put("F16", 2);
    BYTES.put("I64", 8);
    BYTES.put("I32", 4);
    BYTES.put("I8", 1);
    BYTES.put("U8", 1);
  }

  private TaskFile() {}

  /** Bytes of an element; 0 if no task has this dtype. */
  static int width(String type) {
    Integer width = BYTES.get(type);
    return width == null ? 0 : width;
  }

  static Task read(ByteBuffer file, Fleet fleet, int maxLength) throws InputException {
    ByteBuffer data = file.duplicate().order(ByteOrder.LITTLE_ENDIAN);
    if (data.remaining() < DIGEST_AT + DIGITS) throw new InputException("the task's file is too short");
    long size = data.getLong(0);
    if (size < 0 || size > Math.min(HEADER_LIMIT, data.limit() - 8) || (8 + size) % ALIGNMENT != 0) {
      throw new InputException("the task's file has a header of " + size + " bytes, which none has");
    }
    byte[] header = bytes(data, 8, (int) size);
    if (!new String(header, 0, Math.min(header.length, PREFIX.length()), StandardCharsets.US_ASCII).equals(PREFIX)) {
      throw new InputException("the task's file does not begin with its digest");
    }
    checkDigest(data);
    Fields entries = Fields.of(Json.parse(header, "the task's header"), "the task's header");
    Fields metadata = entries.object("__metadata__").exactly("digest", "format", "format_version", "task");
    metadata.word("format", "spartanc-task");
    boolean hasSparse = metadata.word("format_version", "1", "2").equals("2");
    List<TaskTensor> tensors = tensors(entries, data, 8 + (int) size);
    Fields task = Fields.of(Json.parse(metadata.text("task"), "the task's description"), "the task's description");
    task.exactlyWith("pairs", hasSparse ? MEMBERS_WITH_SPARSE : MEMBERS);
    if (hasSparse) expand(task.object("sparse"), tensors);
    return check(task, tensors, fleet, maxLength);
  }

  /** Bytes {@code from} to {@code to} as a view. By way of Buffer, whose methods are of one type on every phone. */
  private static ByteBuffer part(ByteBuffer data, int from, int to) {
    ByteBuffer copy = data.duplicate();
    Buffer bounds = copy;
    bounds.limit(to);
    bounds.position(from);
    return copy;
  }

  private static byte[] bytes(ByteBuffer data, int from, int count) {
    byte[] result = new byte[count];
    part(data, from, from + count).get(result);
    return result;
  }

  private static void checkDigest(ByteBuffer data) throws InputException {
    String recorded = new String(bytes(data, DIGEST_AT, DIGITS), StandardCharsets.US_ASCII);
    byte[] zeros = new byte[DIGITS];
    Arrays.fill(zeros, (byte) '0');
    MessageDigest digest = Digests.sha256();
    digest.update(part(data, 0, DIGEST_AT));
    digest.update(zeros);
    digest.update(part(data, DIGEST_AT + DIGITS, data.limit()));
    String found = Digests.hex(digest.digest());
    if (!found.equals(recorded)) {
      throw new InputException("the task's file has digest `" + found + "`, its header says `" + recorded + "`");
    }
  }

  private static List<TaskTensor> tensors(Fields entries, ByteBuffer data, int start) throws InputException {
    List<TaskTensor> result = new ArrayList<>();
    long end = 0;
    for (String name : entries.names()) {
      if (name.equals("__metadata__")) continue;
      Fields entry = entries.object(name);
      String type = entry.exactly("dtype", "shape", "data_offsets").text("dtype");
      int width = width(type);
      if (width == 0) throw new InputException(entry.where() + " is of dtype `" + Json.shorten(type) + "`, which no task has");
      long[] shape = entry.integers("shape", 1, Integer.MAX_VALUE);
      long[] place = entry.integers("data_offsets", 0, Integer.MAX_VALUE);
      if (shape.length > MOST_DIMENSIONS || place.length != 2) {
        throw new InputException(entry.where() + " has more than " + MOST_DIMENSIONS + " sizes, or not two offsets");
      }
      long bytes = width;
      for (long each : shape) {
        if (bytes > Integer.MAX_VALUE / each) throw new InputException(entry.where() + " is larger than any file");
        bytes *= each;
      }
      if (place[0] != end || place[1] - place[0] != bytes || place[1] > data.limit() - start) {
        throw new InputException(entry.where() + " overlaps another, leaves a gap, or reaches outside");
      }
      if ((start + end) % width != 0) throw new InputException(entry.where() + " is not aligned");
      ByteBuffer tensor = part(data, start + (int) end, start + (int) place[1]).slice().order(ByteOrder.LITTLE_ENDIAN);
      checkFinite(type, tensor, entry.where());
      result.add(new TaskTensor(name, type, shape, tensor));
      end = place[1];
    }
    if (end != data.limit() - start) throw new InputException("the task's file has something after its last tensor");
    return result;
  }

  /** Puts the tensors that {@code sparse} names by their shapes in the place of what is stored of them. */
  private static void expand(Fields sparse, List<TaskTensor> tensors) throws InputException {
    for (String name : sparse.names()) {
      String where = "the sparse tensor `" + Json.shorten(name) + "`";
      int at = 0;
      while (at < tensors.size() && !tensors.get(at).name.equals(name)) at++;
      if (at == tensors.size() || !tensors.get(at).type.equals("U8") || tensors.get(at).shape.length != 1) {
        throw new InputException(where + " is no U8 tensor of one dimension in the header");
      }
      long[] shape = sparse.integers(name, 1, Integer.MAX_VALUE);
      if (shape.length > MOST_DIMENSIONS) throw new InputException(where + " has more than " + MOST_DIMENSIONS + " sizes");
      long count = 1;
      for (long each : shape) {
        if (count > Integer.MAX_VALUE / each) throw new InputException(where + " is larger than any");
        count *= each;
      }
      ByteBuffer numbers = SparseCells.withZeros(tensors.get(at).data, (int) count, where);
      tensors.set(at, new TaskTensor(name, "I8", shape, numbers));
    }
  }

  private static void checkFinite(String type, ByteBuffer tensor, String where) throws InputException {
    boolean finite = true;
    if (type.equals("F32")) {
      for (int i = 0; i < tensor.limit(); i += 4) {
        float value = tensor.getFloat(i);
        finite &= !Float.isNaN(value) && !Float.isInfinite(value);
      }
    } else if (type.equals("F16")) {
      for (int i = 0; i < tensor.limit(); i += 2) finite &= (tensor.getShort(i) & F16_EXPONENT) != F16_EXPONENT;
    }
    if (!finite) throw new InputException(where + " holds NaN or an infinite value");
  }

  private static Task check(Fields task, List<TaskTensor> tensors, Fleet fleet, int maxLength) throws InputException {
    if (!Fleet.TASK_NAME.matcher(task.text("name")).matches()) {
      throw new InputException("the task has the name `" + Json.shorten(task.text("name")) + "`, which is not a task name");
    }
    same("backbone", task.digest("backbone"), fleet.backbone);
    same("quantization", task.word("quantization", Words.QUANTIZATIONS), fleet.quantization);
    String problem = task.word("problem", Words.TASK_TYPES);
    Labels labels = Labels.ofTask(task, problem);
    Fields memory = task.object("memory").exactly("parents", "cells", "top_k", "temperature", "layer_norm");
    memory.word("layer_norm", Words.LAYER_NORMS);
    if (!(memory.number("temperature") > 0)) throw new InputException(memory.where() + ": `temperature` is not above 0");
    long parents = bounded(memory, "parents", fleet);
    long cells = bounded(memory, "cells", fleet);
    long topK = memory.integer("top_k", 1, parents);
    long classes = labels.outputs();
    long[] allowed = fleet.bounds.get("classes");
    if (cells % parents != 0) throw new InputException(memory.where() + " has " + cells + " cells for " + parents + " parents");
    if (classes < allowed[0] || classes > allowed[1]) {
      throw new InputException("the task has " + classes + " classes, the program takes " + allowed[0] + " to " + allowed[1]);
    }
    for (int i = 0; i < Math.max(tensors.size(), fleet.inputs.size()); i++) {
      if (i >= tensors.size()) throw new InputException("the task has no `" + Json.shorten(fleet.inputs.get(i).name) + "`");
      if (i >= fleet.inputs.size()) throw new InputException("the task has `" + Json.shorten(tensors.get(i).name) + "` too much");
      checkTensor(tensors.get(i), fleet.inputs.get(i), parents, cells, classes);
      if (Fleet.isLayout(tensors.get(i).name)) checkLayout(tensors.get(i), parents, cells, topK);
    }
    Probe probe = new Probe(task.object("probe"), (int) classes, maxLength);
    return new Task(labels, problem.equals(Words.REGRESSION), task.flag("pairs"), tensors, probe);
  }

  private static void same(String what, String found, String expected) throws InputException {
    if (!found.equals(expected)) {
      throw new InputException("the task was made for " + what + " `" + Json.shorten(found) + "`, the program's is `"
          + Json.shorten(expected) + "`");
    }
  }

  private static long bounded(Fields memory, String name, Fleet fleet) throws InputException {
    long[] allowed = fleet.bounds.get(name);
    return memory.integer(name, allowed[0], allowed[1]);
  }

  private static void checkTensor(TaskTensor tensor, Fleet.Input input, long parents, long cells, long classes)
      throws InputException {
    boolean good = tensor.name.equals(input.name) && tensor.type.equals(input.type)
        && tensor.shape.length == input.shape.size();
    for (int i = 0; good && i < tensor.shape.length; i++) {
      Object size = input.shape.get(i);
      good = tensor.shape[i] == (size instanceof Long ? (Long) size : Fleet.size((String) size, parents, cells, classes));
    }
    if (!good) {
      throw new InputException("the task has `" + Json.shorten(tensor.name) + "` as " + tensor.type + " "
          + Arrays.toString(tensor.shape) + ", the program takes `" + Json.shorten(input.name) + "` as "
          + input.type + " " + input.shape);
    }
  }

  private static void checkLayout(TaskTensor tensor, long parents, long cells, long topK) throws InputException {
    long[] expected = {parents, cells, topK};
    boolean good = true;
    for (int i = 0; i < expected.length; i++) good &= expected[i] == tensor.data.getLong(8 * i);
    if (!good) throw new InputException("the task's `" + Json.shorten(tensor.name) + "` is not its memory's");
  }
}
