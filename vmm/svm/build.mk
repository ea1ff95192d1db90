kernel-y += $(addprefix vmm/svm/,$(if $(CONFIG_SVM),svm.c entry.S,none.c))
