package org.spartanc.core;

import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;

/**
 * Reads a task's file: safetensors with a digest of its own at the head of its header. Nothing in it is trusted.
 *
 * <p>Checked are the digest, that the tensors stand without gap and overlap, that every float is finite, and against the
 * fleet its backbone, quantisation, bounds and the name, type and shape of every tensor.
 */
final class TaskFile {
  private static final String PREFIX = "{\"__metadata__\":{\"digest\":\"";
  private static final int DIGEST_AT = 8 + PREFIX.length();
  private static final int DIGITS = 64;
  private static final int ALIGNMENT = 64;
  private static final int HEADER_LIMIT = 4 << 20;
  private static final int MOST_DIMENSIONS = 8;
  private static final Map<String, Integer> BYTES = new HashMap<>();

  static {
    BYTES.put("F32", 4);
    BYTES.put("I64", 8);
    BYTES.put("I32", 4);
    BYTES.put("I8", 1);
    BYTES.put("U8", 1);
  }

  private TaskFile() {}

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
    Fields metadata = entries.object("__metadata__");
    if (!metadata.text("format").equals("spartanc-task") || !metadata.text("format_version").equals("1")) {
      throw new InputException("the task's file is of format `" + Json.shorten(metadata.text("format")) + "`, version `"
          + Json.shorten(metadata.text("format_version")) + "`, which this app does not read");
    }
    List<TaskTensor> tensors = tensors(entries, data, 8 + (int) size);
    Fields task = Fields.of(Json.parse(metadata.text("task"), "the task's description"), "the task's description");
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
      String type = entry.text("dtype");
      long[] shape = entry.integers("shape");
      long[] place = entry.integers("data_offsets");
      Integer width = BYTES.get(type);
      if (width == null) throw new InputException(entry.where() + " is of type `" + Json.shorten(type) + "`, which is not taken");
      long bytes = width;
      if (shape.length > MOST_DIMENSIONS || place.length != 2) throw new InputException(entry.where() + " has no valid shape");
      for (long each : shape) {
        if (each < 0 || each > Integer.MAX_VALUE || each > 0 && bytes > Integer.MAX_VALUE / each) {
          throw new InputException(entry.where() + " has a size of " + each);
        }
        bytes *= each;
      }
      if (place[0] != end || place[1] - place[0] != bytes || place[1] > data.limit() - start) {
        throw new InputException(entry.where() + " overlaps another, leaves a gap, or reaches outside");
      }
      if ((start + end) % width != 0) throw new InputException(entry.where() + " is not aligned");
      ByteBuffer tensor = part(data, start + (int) end, start + (int) place[1]).slice().order(ByteOrder.LITTLE_ENDIAN);
      if (type.equals("F32")) checkFinite(tensor, entry.where());
      result.add(new TaskTensor(name, type, shape, tensor));
      end = place[1];
    }
    if (end != data.limit() - start) throw new InputException("the task's file has something after its last tensor");
    return result;
  }

  private static void checkFinite(ByteBuffer tensor, String where) throws InputException {
    for (int i = 0; i < tensor.limit(); i += 4) {
      float value = tensor.getFloat(i);
      if (Float.isNaN(value) || Float.isInfinite(value)) throw new InputException(where + " holds NaN or an infinite value");
    }
  }

  private static Task check(Fields task, List<TaskTensor> tensors, Fleet fleet, int maxLength) throws InputException {
    same("backbone", task.text("backbone"), fleet.backbone);
    same("quantisation", task.text("quantization"), fleet.quantization);
    List<String> labels = task.texts("labels");
    boolean isRegression = task.text("problem").equals("regression");
    if (!isRegression && !task.text("problem").equals("classification")) {
      throw new InputException("the task is of problem `" + Json.shorten(task.text("problem")) + "`, which is not known");
    }
    if (new HashSet<>(labels).size() != labels.size() || (isRegression ? !labels.isEmpty() : labels.size() < 2)) {
      throw new InputException("the task has " + labels.size() + " labels, or one twice");
    }
    Fields memory = task.object("memory");
    long parents = bounded(memory, "parents", fleet);
    long cells = bounded(memory, "cells", fleet);
    long topK = memory.integer("top_k", 1, parents);
    long classes = Math.max(1, labels.size());
    long[] allowed = fleet.bounds.get("classes");
    if (cells % parents != 0) throw new InputException("the task has " + cells + " cells for " + parents + " parents");
    if (classes < allowed[0] || classes > allowed[1]) {
      throw new InputException("the task has " + classes + " classes, the program takes " + allowed[0] + " to " + allowed[1]);
    }
    if (tensors.size() != fleet.inputs.size()) {
      throw new InputException("the task has " + tensors.size() + " tensors, the program takes " + fleet.inputs.size());
    }
    for (int i = 0; i < tensors.size(); i++) {
      checkTensor(tensors.get(i), fleet.inputs.get(i), parents, cells, classes);
      if (tensors.get(i).name.endsWith(".layout")) checkLayout(tensors.get(i), parents, cells, topK);
    }
    return new Task(labels, isRegression, task.flag("pairs"), tensors, new Probe(task.object("probe"), (int) classes, maxLength));
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
    boolean good = tensor.shape.length == 1 && tensor.shape[0] == 3 && (tensor.type.equals("I32") || tensor.type.equals("I64"));
    for (int i = 0; good && i < 3; i++) {
      good = expected[i] == (tensor.type.equals("I64") ? tensor.data.getLong(8 * i) : tensor.data.getInt(4 * i));
    }
    if (!good) throw new InputException("the task's `" + Json.shorten(tensor.name) + "` is not its memory's");
  }
}
