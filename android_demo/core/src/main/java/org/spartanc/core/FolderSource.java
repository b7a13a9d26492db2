package org.spartanc.core;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;

/** The files of a folder. Links are listed and can't be opened; what they lead to is not looked at. */
public final class FolderSource implements Source {
  private static final int DEEPEST = 16;
  private final File root;

  public FolderSource(File root) {
    this.root = root;
  }

  @Override
  public List<String> names() throws IOException {
    List<String> names = new ArrayList<>();
    gather(root.getCanonicalFile(), "", names, 1);
    return names;
  }

  /** {@code folder} is canonical, so what is in it is a link exactly if its own canonical file is another. */
  private static void gather(File folder, String prefix, List<String> names, int depth) throws IOException {
    File[] files = folder.listFiles();
    if (files == null || depth > DEEPEST) throw new IOException("`" + folder.getName() + "` can't be listed");
    for (File file : files) {
      String name = prefix + file.getName();
      if (file.isDirectory() && isPlain(file)) gather(file, name + "/", names, depth + 1);
      else names.add(name);
    }
  }

  private static boolean isPlain(File file) throws IOException {
    return file.getCanonicalFile().equals(file);
  }

  @Override
  public InputStream open(String name) throws IOException {
    File file = new File(root.getCanonicalFile(), name);
    if (file.exists() && !(file.isFile() && isPlain(file))) throw new IOException("`" + name + "` is not a plain file");
    return new FileInputStream(file);
  }

  @Override
  public Source below(String folder) {
    return new FolderSource(new File(root, folder));
  }
}
