// Loads a SavedModel by tensorflow::LoadSavedModel, as TensorFlow Serving does, and runs one signature of it.
//
//     load_saved_model DIRECTORY SIGNATURE FILE...
//
// Each file is one row. A signature of strings takes their contents; one of floats takes float32 as they lie in memory.
// Prints all numbers of the output "embedding", one row a line, with the digits that give the same float32 again.

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <unordered_set>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"

namespace tf = tensorflow;

int Fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

int main(int count, char** arguments) {
  if (count < 4) return Fail("load_saved_model DIRECTORY SIGNATURE FILE...");
  std::vector<std::string> rows;
  for (int i = 3; i < count; ++i) {
    std::ifstream file(arguments[i], std::ios::binary);
    if (!file) return Fail(std::string("cannot read ") + arguments[i]);
    rows.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }

  tf::SavedModelBundle bundle;
  const std::unordered_set<std::string> tags{std::string("serve")};
  auto status = tf::LoadSavedModel(tf::SessionOptions(), tf::RunOptions(), arguments[1], tags, &bundle);
  if (!status.ok()) return Fail(status.ToString());
  const auto& signatures = bundle.GetSignatures();
  const auto signature = signatures.find(arguments[2]);
  if (signature == signatures.end()) return Fail(std::string("no signature ") + arguments[2]);
  if (signature->second.inputs_size() != 1) return Fail("the signature must have one input");

  const auto& input = signature->second.inputs().begin()->second;
  tf::TensorShape shape({static_cast<tf::int64>(rows.size())});
  for (int i = 1; i < input.tensor_shape().dim_size(); ++i) shape.AddDim(input.tensor_shape().dim(i).size());
  tf::Tensor tensor(input.dtype(), shape);
  if (input.dtype() == tf::DT_STRING) {
    for (size_t i = 0; i < rows.size(); ++i) tensor.flat<tf::tstring>()(i) = rows[i];
  } else {
    const size_t size = tensor.tensor_data().size() / rows.size();
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].size() != size) return Fail("a row must have " + std::to_string(size) + " bytes");
      std::memcpy(const_cast<char*>(tensor.tensor_data().data()) + i * size, rows[i].data(), size);
    }
  }

  std::vector<tf::Tensor> outputs;
  const auto name = signature->second.outputs().find("embedding");
  if (name == signature->second.outputs().end()) return Fail("no output embedding");
  status = bundle.GetSession()->Run({{input.name(), tensor}}, {name->second.name()}, {}, &outputs);
  if (!status.ok()) return Fail(status.ToString());
  const auto embedding = outputs[0].matrix<float>();
  for (int i = 0; i < embedding.dimension(0); ++i) {
    for (int j = 0; j < embedding.dimension(1); ++j) std::printf(j ? " %.9g" : "%.9g", embedding(i, j));
    std::printf("\n");
  }
}
