package org.spartanc.demo;

import android.content.Context;
import android.content.res.AssetManager;
import android.os.Debug;
import android.os.Handler;
import android.os.Looper;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.security.PublicKey;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.spartanc.core.Catalog;
import org.spartanc.core.InputException;
import org.spartanc.core.Latency;
import org.spartanc.core.Prediction;
import org.spartanc.core.Signatures;

/**
 * Loads tasks and classifies, on a thread of its own; outlives the screen, so that turning the phone loses nothing.
 *
 * <p>All fields but the executor, the catalog and the latency are touched on the main thread only, where the
 * listener is told of every change.
 */
final class Worker {
  private static final String BUNDLES = "bundles";
  private static final String KEY = "spartanc.pub";

  interface Listener {
    void changed();
  }

  private final AssetManager assets;
  private final File folder;
  private final Handler main = new Handler(Looper.getMainLooper());
  private final ExecutorService thread = Executors.newSingleThreadExecutor();
  private final Latency latency = new Latency();

  /** Only the worker's thread touches this. */
  private Catalog catalog;

  private Listener listener;
  private List<String> tasks = Collections.emptyList();
  private String task;
  private boolean busy = true;
  private boolean loaded;
  private String result = "Loading…";
  private String figures = "";

  Worker(Context context) {
    assets = context.getAssets();
    folder = context.getNoBackupFilesDir();
    thread.execute(this::list);
  }

  void listen(Listener listener) {
    this.listener = listener;
    tell();
  }

  List<String> tasks() {
    return tasks;
  }

  String task() {
    return task;
  }

  boolean isReady() {
    return loaded && !busy;
  }

  String result() {
    return result;
  }

  String figures() {
    return figures;
  }

  void choose(String wanted) {
    if (wanted.equals(task)) return;
    task = wanted;
    loaded = false;
    start("Loading…");
    thread.execute(() -> load(wanted));
  }

  void classify(String text, String second) {
    if (!isReady()) return;
    start(result);
    thread.execute(() -> run(text, second.trim().isEmpty() ? null : second));
  }

  private void start(String shown) {
    busy = true;
    result = shown;
    tell();
  }

  private void tell() {
    if (listener != null) listener.changed();
  }

  private void list() {
    try {
      catalog = new Catalog(new AssetSource(assets, BUNDLES), folder, key(), ExecuTorchProgram::load);
      List<String> found = catalog.tasks();
      main.post(() -> {
        tasks = found;
        if (found.isEmpty()) finish(null, false, "There is no model in this app: `spartanc android-assets` puts one in.");
        else choose(found.get(0));
      });
    } catch (InputException | IOException e) {
      main.post(() -> finish(null, false, "The assets can't be read: " + e.getMessage()));
    }
  }

  private void load(String wanted) {
    String failure = null;
    try {
      catalog.choose(wanted);
    } catch (InputException e) {
      failure = "The task `" + wanted + "` was not loaded: " + e.getMessage();
    } catch (OutOfMemoryError e) {
      failure = "There is not enough memory for the task `" + wanted + "`.";
    }
    String shown = failure == null ? "" : failure;
    boolean good = failure == null;
    String measured = Report.figures(latency, Debug.getPss());
    main.post(() -> {
      figures = measured;
      finish(wanted, good, shown);
    });
  }

  private void finish(String which, boolean good, String shown) {
    if (which != null && !which.equals(task)) return; // another task was chosen meanwhile
    busy = false;
    loaded = good;
    result = shown;
    tell();
  }

  private void run(String text, String second) {
    String shown;
    try {
      Prediction prediction = catalog.classify(text, second);
      latency.add(prediction.nanoseconds);
      shown = Report.of(prediction);
    } catch (InputException e) {
      shown = "Not classified: " + e.getMessage() + ".";
    } catch (OutOfMemoryError e) {
      shown = "Not classified: there is not enough memory for this text.";
    }
    String answer = shown;
    String measured = Report.figures(latency, Debug.getPss());
    main.post(() -> {
      busy = false;
      result = answer;
      figures = measured;
      tell();
    });
  }

  /** The key that bundles must be signed with, if the app brings one. */
  private PublicKey key() throws IOException, InputException {
    try (InputStream in = assets.open(KEY)) {
      ByteArrayOutputStream pem = new ByteArrayOutputStream();
      byte[] buffer = new byte[4096];
      for (int n; (n = in.read(buffer)) >= 0; ) pem.write(buffer, 0, n);
      return Signatures.publicKey(new String(pem.toByteArray(), StandardCharsets.US_ASCII));
    } catch (FileNotFoundException e) {
      return null;
    }
  }
}
