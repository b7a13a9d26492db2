package org.spartanc.demo;

import android.content.res.AssetManager;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import org.spartanc.core.Source;

/** The files of one folder of the app's assets; none where there is no such folder. */
final class AssetSource implements Source {
  private final AssetManager assets;
  private final String root;

  AssetSource(AssetManager assets, String root) {
    this.assets = assets;
    this.root = root;
  }

  @Override
  public List<String> names() throws IOException {
    List<String> names = new ArrayList<>();
    gather("", names);
    return names;
  }

  private void gather(String folder, List<String> names) throws IOException {
    for (String child : list(folder.isEmpty() ? root : root + "/" + folder)) {
      String name = folder.isEmpty() ? child : folder + "/" + child;
      // Assets hold no empty folders: what has no children is a file.
      if (list(root + "/" + name).length == 0) names.add(name);
      else gather(name, names);
    }
  }

  /** What stands in a folder; nothing where there is none, as some versions of Android say by an exception. */
  private String[] list(String folder) throws IOException {
    try {
      return assets.list(folder);
    } catch (FileNotFoundException e) {
      return new String[0];
    }
  }

  @Override
  public InputStream open(String name) throws IOException {
    return assets.open(root + "/" + name, AssetManager.ACCESS_STREAMING);
  }

  @Override
  public Source below(String folder) {
    return new AssetSource(assets, root + "/" + folder);
  }
}
