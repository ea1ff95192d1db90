kernel-y += $(addprefix vmm/svm/,$(if $(CONFIG_SVM),svm.c debugregs.c entry.S,none.c))
