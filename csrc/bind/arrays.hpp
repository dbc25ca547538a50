// Arrays of the caller, through the buffer protocol: a view costs tens of nanoseconds, which matters for a batch of one.
#pragma once

#include <Python.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace recsmith {

// Something is wrong with an argument: which one, and what.
struct ArrayError : std::runtime_error {
  ArrayError(const char* array, const std::string& problem)
      : std::runtime_error(std::string(array) + " " + problem) {}
};

class View {
 public:
  View() = default;
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  ~View() {
    if (held_) PyBuffer_Release(&buffer_);
  }

  // Contiguous ids or offsets of 4 or 8 bytes; false for None.
  bool integers(PyObject* object, const char* name) {
    if (object == Py_None) return false;
    open(object, name, PyBUF_FORMAT | PyBUF_ND, "a contiguous array of int64 or int32");
    const char kind = format();
    const bool integer = kind == 'l' || kind == 'q' || kind == 'i';
    if (!integer || (buffer_.itemsize != 4 && buffer_.itemsize != 8)) {
      throw ArrayError(name, "has elements of type '" + type() + "', wanted int64 or int32");
    }
    line(name);
    return true;
  }

  // Contiguous float32; false for None.
  bool floats(PyObject* object, const char* name) {
    if (object == Py_None) return false;
    open(object, name, PyBUF_FORMAT | PyBUF_ND, "a contiguous array of float32");
    single(name);
    line(name);
    return true;
  }

  enum class Use { read, write };

  // Float32 of shape [rows, columns] with adjacent columns.
  void matrix(PyObject* object, const char* name, std::int64_t rows, std::int64_t columns, Use use = Use::write) {
    if (use == Use::write) {
      open(object, name, PyBUF_FORMAT | PyBUF_STRIDES | PyBUF_WRITABLE, "a writable array of float32");
    } else {
      open(object, name, PyBUF_FORMAT | PyBUF_STRIDES, "an array of float32");
    }
    single(name);
    if (buffer_.ndim != 2 || buffer_.shape[0] != rows || buffer_.shape[1] != columns) {
      throw ArrayError(name, "has shape " + shape() + ", wanted [" + std::to_string(rows) + ", " +
                                 std::to_string(columns) + "]");
    }
    const bool adjacent = columns < 2 || buffer_.strides[1] == sizeof(float);
    if (!adjacent || buffer_.strides[0] % static_cast<Py_ssize_t>(sizeof(float)) != 0) {
      throw ArrayError(name, "must have adjacent columns");
    }
    aligned(name);
  }

  std::int64_t size() const { return buffer_.ndim == 0 ? 1 : buffer_.shape[0]; }
  std::int64_t itemsize() const { return buffer_.itemsize; }
  std::int64_t row_stride() const { return buffer_.strides[0] / static_cast<Py_ssize_t>(sizeof(float)); }
  template <class T>
  T* data() const {
    return static_cast<T*>(buffer_.buf);
  }

 private:
  void open(PyObject* object, const char* name, int flags, const char* wanted) {
    if (PyObject_GetBuffer(object, &buffer_, flags) != 0) {
      PyErr_Clear();
      throw ArrayError(name, std::string("is not ") + wanted + ", but " + Py_TYPE(object)->tp_name);
    }
    held_ = true;
  }

  std::string type() const { return buffer_.format == nullptr ? "B" : buffer_.format; }

  // The one letter of the element type, 0 for any other byte order or for structures.
  char format() const {
    const char* text = buffer_.format;
    if (text == nullptr) return 0;
    if (*text == '@' || *text == '=' || *text == '<') ++text;  // all targets are little-endian
    return text[0] != 0 && text[1] == 0 ? text[0] : 0;
  }

  void single(const char* name) const {
    if (format() != 'f') throw ArrayError(name, "has elements of type '" + type() + "', wanted float32");
  }

  void line(const char* name) const {
    if (buffer_.ndim != 1) throw ArrayError(name, "has shape " + shape() + ", wanted one dimension");
    aligned(name);
  }

  void aligned(const char* name) const {
    if (reinterpret_cast<std::uintptr_t>(buffer_.buf) % static_cast<std::uintptr_t>(buffer_.itemsize) != 0) {
      throw ArrayError(name, "is not aligned to its elements");
    }
  }

  std::string shape() const {
    std::string text = "[";
    for (int i = 0; i < buffer_.ndim; ++i) text += (i == 0 ? "" : ", ") + std::to_string(buffer_.shape[i]);
    return text + "]";
  }

  Py_buffer buffer_{};
  bool held_ = false;
};

}  // namespace recsmith
